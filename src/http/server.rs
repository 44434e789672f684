//! Connections: accepted within a limit, served by hyper within its timeouts, drained when the service stops.
//!
//! TLS belongs between [`serve_connection`]'s stream and hyper: what is served is any `AsyncRead + AsyncWrite`.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::service::Service;
use super::wire::Wire;
use crate::config;

/// Pause where the system has no file descriptor left: trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// From the decision to stop until idle connections are closed. In this time every answer asks its client to close, so
/// that no client's next request meets a closed connection; those that came by then are answered.
const LINGER: Duration = Duration::from_millis(300);
/// Streams that one HTTP/2 connection may have open.
const H2_STREAMS: u32 = 128;
/// How far headers may go over the limit before hyper itself refuses them, bare of the service's words: what lies between is
/// refused by the service. In limits.
const H2_HEADER_LISTS: usize = 4;

/// Serves connections of `listener` until `stop` fires, then drains them: `drain_timeout` at the most.
pub async fn serve(listener: TcpListener, service: Arc<Service>, config: config::Server, stop: oneshot::Receiver<()>) {
    let connections = Connections::new(service, &config);
    let graceful = GracefulShutdown::new();
    {
        let accepting = pin!(connections.accept(&listener, &graceful));
        let stopping = async {
            let _ = stop.await;
            connections.service.drain();
            sleep(LINGER).await;
        };
        tokio::select! {
            () = accepting => {}
            () = stopping => {}
        }
    }
    drop(listener);
    if timeout(config.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were cut off: they took longer than server.drain_timeout_ms");
    }
}

struct Connections {
    service: Arc<Service>,
    builder: auto::Builder<TokioExecutor>,
    slots: Arc<Semaphore>,
    header_timeout: Duration,
}

impl Connections {
    fn new(service: Arc<Service>, config: &config::Server) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // Without a timer hyper has no timeouts at all.
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(config.header_timeout)
            .max_buf_size(config.header_max_bytes);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(config.header_timeout)
            .keep_alive_timeout(config.header_timeout)
            .max_concurrent_streams(H2_STREAMS)
            .max_header_list_size(u32::try_from(H2_HEADER_LISTS * config.header_max_bytes).unwrap_or(u32::MAX));
        let slots = Arc::new(Semaphore::new(config.max_connections));
        Self { service, builder, slots, header_timeout: config.header_timeout }
    }

    async fn accept(&self, listener: &TcpListener, graceful: &GracefulShutdown) {
        loop {
            let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => self.spawn(stream, slot, graceful.watcher()),
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "connections cannot be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn spawn(&self, stream: TcpStream, slot: OwnedSemaphorePermit, watcher: Watcher) {
        // Answers are written whole; waiting to fill a packet would only delay them.
        let _ = stream.set_nodelay(true);
        let (service, builder, patience) = (Arc::clone(&self.service), self.builder.clone(), self.header_timeout);
        tokio::spawn(async move {
            service.metrics().http_connections.inc();
            serve_connection(stream, &service, &builder, patience, watcher).await;
            service.metrics().http_connections.dec();
            drop(slot);
        });
    }
}

async fn serve_connection<S>(
    stream: S,
    service: &Arc<Service>,
    builder: &auto::Builder<TokioExecutor>,
    patience: Duration,
    watcher: Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let begun = AtomicBool::new(false);
    let respond = service_fn(|request| {
        begun.store(true, Ordering::Relaxed);
        let service = Arc::clone(service);
        async move { Ok::<_, Infallible>(service.answer(request).await) }
    });
    let wire = TokioIo::new(Wire::new(stream, Arc::clone(service)));
    let connection = builder.serve_connection(wire, respond);
    let mut connection = pin!(watcher.watch(connection));
    // hyper has no timeout of its own while it waits for the first bytes, which tell the protocol's version.
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = sleep(patience) => {
            if !begun.load(Ordering::Relaxed) {
                return;
            }
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// The client left before it was accepted, which is its own affair.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
