//! The byte stream below hyper: which protocol it speaks, whether it is idle, and hyper's own refusals in the service's words.
//!
//! hyper answers a request that it can't parse by itself, with a status and no body, and offers no hook. Those answers
//! are recognized as they are written: a head of status 400, 414, 431 or 505 without the `x-request-id` that every
//! answer of the service carries. The service's own refusal is sent in its place.

mod activity;
mod refusal;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::error::Refusal;
use super::service::Service;
use super::write_deadline::WriteDeadline;
use activity::Activity;

pub(super) use refusal::not_tls;

/// The first bytes of a client that knows that HTTP/2 is spoken here (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream that watches what goes through it.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    service: Arc<Service>,
    activity: Arc<Activity>,
    /// Bytes that were read ahead, to be read again.
    ahead: Vec<u8>,
    spoken: Spoken,
    /// A refusal on its way out, and how much of it has gone.
    refusal: Vec<u8>,
    sent: usize,
    /// Whether the last write was partial, so that the next one is its rest.
    is_midway: bool,
    write_deadline: WriteDeadline,
}

/// Which HTTP is spoken on a connection, as far as is known before its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// Either, which the first bytes decide.
    Either,
    /// HTTP/1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// The beginning of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// A byte that may begin a request.
    Http1,
    /// HTTP/2's preface.
    Http2,
    /// Nothing.
    End,
}

impl<S> Wire<S> {
    /// A stream for one connection.
    pub fn new(stream: S, service: Arc<Service>, spoken: Spoken) -> Self {
        let (ahead, refusal) = (Vec::new(), Vec::new());
        let write_deadline = WriteDeadline::new(service.write_timeout());
        Self {
            stream,
            service,
            activity: Arc::default(),
            ahead,
            spoken,
            refusal,
            sent: 0,
            is_midway: false,
            write_deadline,
        }
    }

    /// Its activity.
    pub fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }

    /// Makes the stream ready for its next opening, which begins with the bytes that were read and not used.
    #[must_use]
    pub fn reopen(mut self, unread: &[u8]) -> Self {
        self.ahead.splice(..0, unread.iter().copied());
        self.spoken = Spoken::Http1;
        self
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Waits for the first bytes, and reads them ahead: as many as it takes to know the protocol.
    ///
    /// # Errors
    /// The stream's.
    pub async fn opening(&mut self) -> io::Result<Opening> {
        loop {
            if !self.ahead.is_empty() {
                match self.spoken {
                    Spoken::Http1 => return Ok(Opening::Http1),
                    Spoken::Either if !HTTP2_PREFACE.starts_with(&self.ahead) => return Ok(Opening::Http1),
                    // HTTP/2 was agreed on, and something else came: hyper refuses it.
                    Spoken::Http2 if !HTTP2_PREFACE.starts_with(&self.ahead) => return Ok(Opening::Http2),
                    Spoken::Either | Spoken::Http2 if self.ahead.len() == HTTP2_PREFACE.len() => {
                        self.spoken = Spoken::Http2;
                        return Ok(Opening::Http2);
                    }
                    Spoken::Either | Spoken::Http2 => {}
                }
            }
            let mut bytes = [0; HTTP2_PREFACE.len()];
            let room = bytes.get_mut(self.ahead.len()..).unwrap_or_default();
            let count = self.stream.read(room).await?;
            if count == 0 {
                return Ok(match self.spoken {
                    _ if self.ahead.is_empty() => Opening::End,
                    Spoken::Http2 => Opening::Http2,
                    Spoken::Either | Spoken::Http1 => Opening::Http1,
                });
            }
            self.ahead.extend_from_slice(room.get(..count).unwrap_or_default());
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buf.remaining());
            buf.put_slice(self.ahead.get(..count).unwrap_or_default());
            self.ahead.drain(..count);
            self.activity.read();
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.activity.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.refusal.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let written = Pin::new(&mut self.stream).poll_write(cx, rest);
            match ready!(self.within_time(cx, written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S> Wire<S> {
    /// The refusal to send instead of `buf`, where that is an answer of hyper's own. HTTP/2 has none.
    fn refusal_instead_of(&self, buf: &[u8]) -> Option<Refusal> {
        if self.is_midway || self.spoken == Spoken::Http2 { None } else { refusal::instead_of(buf) }
    }

    /// Notes the outcome of a write of `length` bytes.
    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        self.activity.wrote(written.is_pending());
        if let Poll::Ready(Ok(count)) = &written {
            self.write_deadline.wrote(*count);
            self.is_midway = *count < length;
        }
        self.within_time(cx, written)
    }

    /// The same outcome, but an error where the client has exceeded its deadline.
    fn within_time<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match outcome {
            Poll::Pending => self.write_deadline.poll(cx).map(Err),
            outcome @ Poll::Ready(_) => outcome,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(refusal) = self.refusal_instead_of(buf) {
            self.refusal = refusal::write(refusal, &self.service, self.service.transport_security());
            self.sent = 0;
            // The rest goes out with the flush that follows.
            let _ = self.poll_refusal(cx)?;
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(self.poll_refusal(cx))?;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(cx, written, buf.len())
    }

    /// Head and body of an answer go out together, and neither has to be copied for it.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        if !self.stream.is_write_vectored() || self.refusal_instead_of(first).is_some() {
            return self.poll_write(cx, first);
        }
        ready!(self.poll_refusal(cx))?;
        let length = bufs.iter().map(|buf| buf.len()).sum();
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(cx, written, length)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(cx))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // TLS takes bytes that the socket does not take yet.
        self.activity.flushed(flushed.is_pending());
        if flushed.is_ready() {
            self.write_deadline.end();
        }
        self.within_time(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(cx))?;
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.within_time(cx, shut)
    }
}
