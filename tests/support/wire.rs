//! A bare connection: bytes in, bytes out.

use std::net::SocketAddr;

use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Answer, soon};

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub struct Wire {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
}

impl Wire {
    pub async fn open(addr: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(addr)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    /// A connection over an open stream.
    pub fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { stream: Box::new(stream), received: Vec::new() }
    }

    /// Sends `bytes`. If the service has closed the connection, the test sees that when it reads the answer.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = soon("room to write", self.stream.write_all(bytes.as_ref())).await;
    }

    /// Closes the sending side; answers can still be read.
    #[allow(dead_code, reason = "for requests that end too early")]
    pub async fn finish(&mut self) {
        soon("the end of what is sent", self.stream.shutdown()).await.unwrap();
    }

    /// The next answer with its body.
    pub async fn answer(&mut self) -> Answer {
        self.answer_to("GET").await
    }

    /// The next answer; that to HEAD has no body, whatever its headers say.
    pub async fn answer_to(&mut self, method: &str) -> Answer {
        let head = loop {
            if let Some(end) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = self.received.split_off(end + 4);
                break std::mem::replace(&mut self.received, rest);
            }
            assert!(self.more().await, "the connection closed after {:?}", String::from_utf8_lossy(&self.received));
        };
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status: StatusCode = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
        }
        let length = headers.get("content-length").map_or(0, |text| text.to_str().unwrap().parse().unwrap());
        let length = if method == "HEAD" || status.is_informational() { 0 } else { length };
        while self.received.len() < length {
            assert!(self.more().await, "the connection closed within a body");
        }
        let rest = self.received.split_off(length);
        let body = Bytes::from(std::mem::replace(&mut self.received, rest));
        Answer { status, headers, body }
    }

    /// Reads to the end of the connection; returns the bytes that still came.
    pub async fn closed(mut self) -> Vec<u8> {
        while self.more().await {}
        self.received
    }

    async fn more(&mut self) -> bool {
        let read = soon("more bytes or the end", self.stream.read_buf(&mut self.received)).await;
        // A reset is an end too.
        read.is_ok_and(|count| count > 0)
    }
}
