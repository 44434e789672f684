//! One HTTP/1.1 connection of the load generator: raw bytes out, and just enough of an answer read to find its end.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// Status line and headers, up to the empty line.
    pub(crate) head: &'a str,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(2048) })
    }

    /// Whether the server has not closed it.
    pub(crate) fn is_open(&self) -> bool {
        let idle = self.stream.try_read(&mut [0]);
        matches!(idle, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Sends a request and waits for the whole answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let (head, length) = loop {
            self.fill().await?;
            if let Some(head) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break (head, content_length(self.buffer.get(..head).unwrap_or_default())?);
            }
        };
        let body = head + 4;
        while self.buffer.len() < body + length {
            self.fill().await?;
        }
        let text = |range| self.buffer.get(range).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default();
        let status = text(9..12).parse().map_err(|_| malformed("an answer without a status"))?;
        Ok(Answer { status, head: text(0..head), body: self.buffer.get(body..).unwrap_or_default() })
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// What the header `content-length` says; nobody here answers in chunks.
fn content_length(head: &[u8]) -> io::Result<usize> {
    let value = head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(15)?;
        name.eq_ignore_ascii_case(b"content-length:").then_some(value)
    });
    let value = value.and_then(|value| str::from_utf8(value).ok()).and_then(|value| value.trim().parse().ok());
    value.ok_or_else(|| malformed("an answer without content-length"))
}

fn malformed(words: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, words)
}
