//! HTTP/2, frame by frame, for clients that do not keep to it.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::harness::soon;

pub const DATA: u8 = 0x0;
pub const HEADERS: u8 = 0x1;
pub const RST_STREAM: u8 = 0x3;
pub const SETTINGS: u8 = 0x4;
pub const PING: u8 = 0x6;
pub const GOAWAY: u8 = 0x7;
pub const WINDOW_UPDATE: u8 = 0x8;
pub const CONTINUATION: u8 = 0x9;

pub const ACK: u8 = 0x1;
pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;

/// What a service says that has had enough (RFC 9113, section 7).
pub const ENHANCE_YOUR_CALM: u32 = 0xb;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame as it came.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// One frame to send.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A GET of `path`, complete.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET", path))
}

/// The head of a POST of JSON to `path`, whose body is to come.
pub fn post(stream: u32, path: &str) -> Vec<u8> {
    let mut block = head("POST", path);
    block.extend(field("content-type", "application/json"));
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// The fields of a request's head (RFC 7541): names and values to the letter, kept out of the table.
pub fn head(method: &str, path: &str) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "test")];
    fields.into_iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// A field to the letter.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    [vec![0], text(name), text(value)].concat()
}

/// A field to the letter that the table shall keep: from then on, the byte `0xbe` stands for it.
pub fn kept_field(name: &str, value: &str) -> Vec<u8> {
    [vec![0x40], text(name), text(value)].concat()
}

fn text(value: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    match value.len() {
        length @ ..127 => bytes.push(u8::try_from(length).unwrap()),
        length => {
            bytes.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128 + 128).unwrap());
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).unwrap());
        }
    }
    bytes.extend(value.as_bytes());
    bytes
}

/// A connection that has begun.
pub struct Http2 {
    read: OwnedReadHalf,
    pub write: OwnedWriteHalf,
}

impl Http2 {
    pub async fn open(addr: SocketAddr) -> Self {
        Self::with(addr, &[]).await
    }

    /// One with settings of the client's.
    pub async fn with(addr: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = soon("a connection", TcpStream::connect(addr)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (read, write) = stream.into_split();
        let mut connection = Self { read, write };
        let payload: Vec<u8> =
            settings.iter().flat_map(|(key, value)| key.to_be_bytes().into_iter().chain(value.to_be_bytes())).collect();
        connection.send(&[PREFACE, &frame(SETTINGS, 0, 0, &payload)].concat()).await;
        connection
    }

    /// Sends `bytes`; whether the service has let them through.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        soon("room to write", self.write.write_all(bytes)).await.is_ok()
    }

    /// The next frame; `None` at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        next(&mut self.read).await
    }

    /// The first frame that is `wanted`; `None` where the end comes before.
    pub async fn until_frame(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        until_frame(&mut self.read, wanted).await
    }

    /// Sends `piece` again and again, reads all that comes, and waits for the end. What the service said why, if that was
    /// still to be read: who is being flooded may leave without hearing the rest.
    pub async fn flood(self, piece: Vec<u8>) -> Option<u32> {
        let Self { mut read, mut write } = self;
        let flood = tokio::spawn(async move { while write.write_all(&piece).await.is_ok() {} });
        let mut said = Vec::new();
        let _ = soon("the end of the flood", read.read_to_end(&mut said)).await;
        flood.abort();
        reason(&said)
    }

    /// Sends `piece` again and again until a frame comes that is `wanted`.
    pub async fn flood_until(self, piece: Vec<u8>, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        let Self { mut read, mut write } = self;
        let (stopped, mut stop) = tokio::sync::oneshot::channel::<()>();
        let flood = tokio::spawn(async move {
            while stop.try_recv().is_err() && write.write_all(&piece).await.is_ok() {}
            write
        });
        let found = until_frame(&mut read, wanted).await;
        drop(stopped);
        let _ = soon("the end of the flood", flood).await;
        found
    }

    /// Reads to the end; what the service said why.
    pub async fn ended(mut self) -> Option<u32> {
        let mut said = Vec::new();
        let _ = soon("the end", self.read.read_to_end(&mut said)).await;
        reason(&said)
    }
}

async fn next(read: &mut OwnedReadHalf) -> Option<Frame> {
    let mut head = [0; 9];
    soon("a frame", read.read_exact(&mut head)).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    soon("its payload", read.read_exact(&mut payload)).await.ok()?;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some(Frame { kind: head[3], flags: head[4], stream, payload })
}

async fn until_frame(read: &mut OwnedReadHalf, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
    loop {
        let frame = next(read).await?;
        if wanted(&frame) {
            return Some(frame);
        }
    }
}

/// The error code of the last GOAWAY among these frames.
fn reason(mut bytes: &[u8]) -> Option<u32> {
    let mut found = None;
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        if head[3] == GOAWAY {
            found = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        bytes = rest;
    }
    found
}
