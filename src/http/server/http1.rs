//! HTTP/1 connections, from one idle time to the next.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::{Connections, LOOK};
use crate::http::service::RateRefusals;
use crate::http::wire::Wire;

impl Connections {
    /// Serves HTTP/1 until the connection ends or is idle. An idle one gives its stream back.
    pub(super) async fn serve_http1<S>(&self, wire: Wire<S>, peer: IpAddr) -> Result<Option<Wire<S>>, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = wire.activity();
        let refused = RateRefusals::default();
        let respond = |request: Request<Incoming>| {
            let (service, activity, refused) = (&self.service, &activity, &refused);
            async move {
                activity.asked();
                let has_body = !request.body().is_end_stream();
                let mut response = service.answer(request, peer).await;
                if refused.are_too_many_with(&response) {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                // The rest of a refused body may still arrive, and hyper has to discard it.
                if !has_body || response.status().is_success() {
                    activity.answered();
                }
                Ok::<_, Infallible>(response)
            }
        };
        let http1 = if self.slots.are_scarce() { &self.http1_hurried } else { &self.http1 };
        let mut connection = http1.serve_connection(TokioIo::new(wire), service_fn(respond));
        // In a `FuturesUnordered`, so that it is polled only when it is woken: each request polls this task several
        // times.
        let mut watch = FuturesUnordered::from_iter([self.watch(self.spread.next(), false)]);
        loop {
            tokio::select! {
                biased;
                ended = &mut connection => return ended.map(|()| None),
                Some(is_closing) = watch.next() => {
                    if activity.is_idle() {
                        let parts = connection.into_parts();
                        return Ok(Some(parts.io.into_inner().reopen(&parts.read_buf)));
                    }
                    if is_closing {
                        std::pin::Pin::new(&mut connection).graceful_shutdown();
                    }
                    watch.push(self.watch(LOOK, is_closing));
                }
            }
        }
    }

    /// Waits for `until_look` or, unless `is_closing` already, until connections are to be closed; returns whether they
    /// are.
    async fn watch(&self, until_look: Duration, is_closing: bool) -> bool {
        tokio::select! {
            () = sleep(until_look) => is_closing,
            () = self.closing.cancelled(), if !is_closing => true,
        }
    }
}
