//! The byte stream below hyper, where its own refusals get the service's words.
//!
//! hyper answers a request that it can't parse by itself, with a status and no body, and offers no hook. Those answers are
//! recognized as they are written: a head of status 400, 414, 431 or 505 without the `x-request-id` that every answer of
//! the service carries. What goes out in its place is the refusal that clients know.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::error::{Format, Refusal};
use super::service::{REQUEST_ID, Service};

/// A stream that rewrites hyper's own refusals.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    service: Arc<Service>,
    /// A refusal on its way out, and how much of it has gone.
    refusal: Vec<u8>,
    sent: usize,
}

impl<S> Wire<S> {
    /// A stream for one connection.
    pub fn new(stream: S, service: Arc<Service>) -> Self {
        Self { stream, service, refusal: Vec::new(), sent: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.refusal.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(refusal) = own_refusal(buf) {
            self.refusal = write(refusal, &self.service);
            self.sent = 0;
            // The rest goes out with the flush that follows.
            let _ = self.poll_refusal(cx)?;
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(self.poll_refusal(cx))?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The refusal to send where `buf` is an answer that hyper made by itself.
fn own_refusal(buf: &[u8]) -> Option<Refusal> {
    let status = buf.strip_prefix(b"HTTP/1.1 ").or_else(|| buf.strip_prefix(b"HTTP/1.0 "))?.get(..3)?;
    let refusal = match status {
        b"400" => Refusal::MALFORMED_REQUEST,
        b"414" => Refusal::URI_TOO_LONG,
        b"431" => Refusal::HEADERS_TOO_LARGE,
        b"505" => Refusal::VERSION_NOT_SUPPORTED,
        _ => return None,
    };
    let has_id = buf.windows(REQUEST_ID.as_str().len()).any(|window| window == REQUEST_ID.as_str().as_bytes());
    (!has_id).then_some(refusal)
}

fn write(refusal: Refusal, service: &Service) -> Vec<u8> {
    let status = refusal.status;
    service.metrics().http_requests.with_label_values(&["unknown", status.as_str()]).inc();
    let reply = refusal.into_reply(Format::Envelope);
    let id = service.next_id();
    tracing::info!(status = status.as_u16(), request_id = id.to_str().unwrap_or_default(), "malformed request");
    let mut text = head(status, id.to_str().unwrap_or_default(), reply.body.len()).into_bytes();
    text.extend_from_slice(&reply.body);
    text
}

fn head(status: StatusCode, id: &str, length: usize) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{REQUEST_ID}: {id}\r\n\
         connection: close\r\n\r\n"
    )
}
