//! Connections: accepted within a limit, served by hyper within its timeouts, drained when the service stops.
//!
//! A connection's life alternates between two states. While requests come, hyper serves it. When none has come for
//! `LOOK`, hyper's buffers and state (some 30 KB) are dropped and only the stream is kept, until its next byte. Ten
//! thousand mostly silent clients then cost what their sockets cost. hyper-util's `GracefulShutdown` would drain
//! connections, too, but it hides them in a future that does not give the stream back.
//!
//! A stream is any `AsyncRead + AsyncWrite`: TCP, or TLS over it. A connection closes at once where its network has too
//! many already.

mod http1;
mod http2;

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1 as hyper_http1;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock::{Clock, Spread};
use super::listener::{Acceptor, Slot, Slots};
use super::networks::Networks;
use super::send_buffer;
use super::service::Service;
use super::tls::{HandshakeError, Tls};
use super::wire::{self, Opening, Spoken, Wire};
use crate::config;
use crate::telemetry::Part;

/// Time from the decision to stop until idle connections are closed. In this time every answer asks its client to
/// close, so that no client's next request meets a closed connection. Requests that arrive by then are answered.
const LINGER: Duration = Duration::from_millis(300);
/// How often an HTTP/1 connection is checked. One that was silent between two checks is idle; a header timeout that has
/// passed is noticed at a check.
const LOOK: Duration = Duration::from_millis(250);
/// Time for the last bytes to a client before its connection closes.
const FAREWELL: Duration = Duration::from_millis(500);
/// Slots are scarce when fewer than one in so many are free.
const SCARCE_PART: usize = 10;
/// How long a connection may be idle while slots are scarce.
const IDLE_WHEN_SCARCE: Duration = Duration::from_secs(1);

/// The parts between the listener and the service.
#[derive(Debug, Clone)]
pub struct Entrance {
    /// TLS; `None`: plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// Connection limits of networks; `None`: no limits.
    pub networks: Option<Arc<Networks>>,
}

/// Serves connections of `listener` until `stop` fires, then drains them: `drain_timeout` at the most. `accepting` is
/// the accept loop's entry in the health of the process.
pub async fn serve(
    listener: TcpListener,
    entrance: Entrance,
    service: Arc<Service>,
    config: config::Server,
    (accepting, stop): (Part, oneshot::Receiver<()>),
) {
    send_buffer::bound(&listener);
    let connections = Arc::new(Connections::new(service, entrance, &config));
    let stopping = async {
        let _ = stop.await;
        connections.service.drain();
        sleep(config.drain_notice + LINGER).await;
    };
    tokio::select! {
        () = accepting.keep_running(|| connections.accept(&listener)) => {}
        () = stopping => {}
    }
    drop(listener);
    connections.closing.cancel();
    connections.open.close();
    if timeout(config.drain_timeout, connections.open.wait()).await.is_err() {
        tracing::warn!("some requests were cut off: they took longer than server.drain_timeout_ms");
    }
}

struct Connections {
    service: Arc<Service>,
    entrance: Entrance,
    http1: hyper_http1::Builder,
    /// While slots are scarce: less time for a request's head.
    http1_hurried: hyper_http1::Builder,
    http2: http2::Builder,
    /// Where they are scarce, idle connections are closed early.
    slots: Slots,
    /// Spreads checks over `LOOK`: hundreds of connections that arrive in one moment would otherwise become idle in one
    /// moment, and keep all others waiting.
    spread: Spread,
    header_timeout: Duration,
    drain_timeout: Duration,
    open: TaskTracker,
    /// Fires when idle connections are to be closed, and others after their answer.
    closing: CancellationToken,
}

impl Connections {
    fn new(service: Arc<Service>, entrance: Entrance, config: &config::Server) -> Self {
        // Without a timer hyper has no timeouts at all.
        let mut http1 = hyper_http1::Builder::new();
        http1.timer(Clock).header_read_timeout(config.header_timeout).max_buf_size(config.header_max_bytes);
        let mut http1_hurried = http1.clone();
        http1_hurried.header_read_timeout(config.header_timeout.min(IDLE_WHEN_SCARCE));
        let slots = Slots::new(config.max_connections, config.max_connections.div_ceil(SCARCE_PART));
        let (open, closing) = (TaskTracker::new(), CancellationToken::new());
        let config::Server { header_timeout, drain_timeout, .. } = *config;
        Self {
            service,
            entrance,
            http1,
            http1_hurried,
            http2: http2::builder(config),
            slots,
            spread: Spread::new(LOOK),
            header_timeout,
            drain_timeout,
            open,
            closing,
        }
    }

    async fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let Entrance { tls, networks } = &self.entrance;
        let (slots, metrics) = (&self.slots, self.service.metrics());
        let (networks, has_handshake) = (networks.as_ref(), tls.is_some());
        let acceptor = Acceptor { listener, name: "main", slots, networks, has_handshake, metrics };
        acceptor.run(|stream, peer, slot| drop(self.open.spawn(Arc::clone(self).run(stream, peer, slot)))).await;
    }

    async fn run(self: Arc<Self>, stream: TcpStream, peer: IpAddr, slot: Slot) {
        let connections = &self.service.metrics().connections;
        connections.inc();
        let served = match &self.entrance.tls {
            None => self.serve(stream, Spoken::Either, peer).await,
            // Boxed, because the future has room for the larger of both.
            Some(tls) => Box::pin(self.serve_tls(tls, stream, peer)).await,
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended early");
        }
        // Freed before the gauge sinks, so that the slot is free once the metrics show the connection as closed.
        drop(slot);
        connections.dec();
    }

    /// Serves one connection over TLS.
    async fn serve_tls(&self, tls: &Tls, stream: TcpStream, peer: IpAddr) -> Result<(), hyper::Error> {
        let agreed = tokio::select! {
            agreed = Box::pin(tls.handshake(stream)) => agreed,
            () = self.closing.cancelled() => return Ok(()),
        };
        match agreed {
            Ok((stream, spoken)) => return self.serve(stream, spoken, peer).await,
            Err(HandshakeError::PlainHttp(stream)) => self.refuse_plain_http(stream).await,
            Err(HandshakeError::Left) => {}
            Err(HandshakeError::Challenge) => tracing::debug!("an authority has seen its challenge"),
            Err(HandshakeError::TimedOut) => tracing::debug!("a handshake took too long"),
            Err(HandshakeError::Failed(error)) => tracing::debug!(%error, "a handshake failed"),
        }
        Ok(())
    }

    /// Refuses a client that speaks plain HTTP, in plain HTTP.
    async fn refuse_plain_http(&self, mut stream: TcpStream) {
        let refused = timeout(FAREWELL, async {
            stream.write_all(&wire::not_tls(&self.service)).await?;
            stream.shutdown().await?;
            // Closing it with unread bytes would reset the connection and lose the answer.
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            Ok::<_, io::Error>(())
        });
        if !matches!(refused.await, Ok(Ok(()))) {
            tracing::debug!("a client of plain HTTP left early");
        }
    }

    /// Serves one connection to its end.
    async fn serve<S>(&self, stream: S, spoken: Spoken, peer: IpAddr) -> Result<(), hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut wire = Wire::new(stream, Arc::clone(&self.service), spoken);
        loop {
            let idle = &self.service.metrics().connections_idle;
            idle.inc();
            let opening = self.opening(&mut wire).await;
            idle.dec();
            match opening {
                Some(Opening::Http1) => {}
                Some(Opening::Http2) => return Box::pin(self.serve_http2(wire, peer)).await,
                Some(Opening::End) | None => {
                    // TLS sends its closing alert, so that the client does not mistake this for a cut connection.
                    let _ = timeout(FAREWELL, wire.shutdown()).await;
                    return Ok(());
                }
            }
            match Box::pin(self.serve_http1(wire, peer)).await? {
                Some(idle) => wire = idle,
                None => return Ok(()),
            }
        }
    }

    /// Waits for the first bytes; `None` where the connection is to be closed. hyper has no timeout of its own for
    /// them. While slots are scarce, silent connections are closed early, so that others get in.
    async fn opening<S: AsyncRead + Unpin>(&self, wire: &mut Wire<S>) -> Option<Opening> {
        let spread = self.spread.next();
        // Made before the check, so that a notification between the two is not missed.
        let became_scarce = self.slots.became_scarce();
        let mut became_scarce = pin!(became_scarce);
        let mut is_hurried = self.slots.are_scarce();
        loop {
            let patience = if is_hurried { self.header_timeout.min(IDLE_WHEN_SCARCE) } else { self.header_timeout };
            tokio::select! {
                opening = timeout(patience + spread, wire.opening()) => return opening.ok().and_then(Result::ok),
                () = &mut became_scarce, if !is_hurried => is_hurried = true,
                () = self.closing.cancelled() => return None,
            }
        }
    }
}
