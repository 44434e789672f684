//! HTTP/2 connections. They keep hyper's state while they are idle: they are few and busy, one for each client, or a
//! proxy's for many.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::{interval, timeout};

use super::Connections;
use crate::config;
use crate::http::service::RateRefusals;
use crate::http::wire::Wire;

/// Streams that may be open.
const STREAMS: u32 = 128;
/// Stream errors that a client may cause before its connection closes. Each makes the service cancel a request that it
/// has begun.
const ERRORS: usize = 64;
/// Multiple of the header limit up to which the service itself refuses headers. Beyond it, hyper refuses them, without
/// a body.
const HEADER_LISTS: usize = 4;

/// What serves HTTP/2.
pub(super) type Builder = http2::Builder<TokioExecutor>;

/// hyper, with the service's limits.
pub(super) fn builder(config: &config::Server) -> Builder {
    let mut http2 = Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .keep_alive_interval(config.header_timeout)
        .keep_alive_timeout(config.header_timeout)
        .max_concurrent_streams(STREAMS)
        .max_local_error_reset_streams(ERRORS)
        .max_header_list_size(u32::try_from(HEADER_LISTS * config.header_max_bytes).unwrap_or(u32::MAX));
    http2
}

impl Connections {
    /// Serves one connection. When no request has come for a while, or rate limits have refused too many, it is shut
    /// down gracefully: the client has `server.drain_timeout_ms` to read its last answers.
    pub(super) async fn serve_http2<S>(&self, wire: Wire<S>, peer: IpAddr) -> Result<(), hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = Arc::clone(&self.service);
        let asked = Arc::new(AtomicBool::new(true));
        let asking = Arc::clone(&asked);
        let refused = Arc::new((RateRefusals::default(), Notify::new()));
        let refusing = Arc::clone(&refused);
        let respond = move |request| {
            let (service, refused) = (Arc::clone(&service), Arc::clone(&refusing));
            asking.store(true, Ordering::Relaxed);
            async move {
                let response = service.answer(request, peer).await;
                let (refusals, too_many) = &*refused;
                if refusals.are_too_many_with(&response) {
                    too_many.notify_one();
                }
                Ok::<_, Infallible>(response)
            }
        };
        let mut connection = self.http2.serve_connection(TokioIo::new(wire), service_fn(respond));
        let mut looks = interval(self.header_timeout);
        loop {
            tokio::select! {
                ended = &mut connection => return ended,
                () = refused.1.notified() => break,
                _ = looks.tick() => if !asked.swap(false, Ordering::Relaxed) { break },
                () = self.closing.cancelled() => {
                    Pin::new(&mut connection).graceful_shutdown();
                    return connection.await;
                }
            }
        }
        Pin::new(&mut connection).graceful_shutdown();
        timeout(self.drain_timeout, connection).await.unwrap_or(Ok(()))
    }
}
