//! A bare hyper server: the bytes of the service's answer, without token, actors or database.
//!
//! It is this program again, so that it has the same build and allocator; what it is to answer comes in a file.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::Outcome;
use super::connection::Connection;
use super::process::{Process, command};
use super::requests::Requests;

/// Names the file with the answer.
const VARIABLE: &str = "LOAD_BARE_ANSWER";
/// hyper writes these by itself.
const BY_HYPER: [&str; 2] = ["date", "content-length"];

/// A running bare server.
#[derive(Debug)]
pub(crate) struct Bare {
    process: Process,
    pub(crate) addr: SocketAddr,
}

impl Bare {
    /// Asks the service for one answer to `requests`, and starts a server that gives it to everyone.
    pub(crate) async fn start(requests: &Requests, dir: &Path) -> Outcome<Self> {
        let mut connection = Connection::open(requests.addr).await?;
        let answer = connection.exchange(requests.next()).await?;
        if answer.status != 200 {
            return Err(format!("the service answers with {}", answer.status).into());
        }
        let file = dir.join("answer");
        std::fs::write(&file, [answer.head.as_bytes(), b"\r\n\r\n", answer.body].concat())?;
        let mut bare = command(std::env::current_exe()?);
        bare.env(VARIABLE, &file);
        let mut process = Process::start(bare, &dir.join("bare.log"))?;
        let addr = process.listening().await?;
        Ok(Self { process, addr })
    }

    pub(crate) async fn stop(self) {
        // Killed when dropped, if it does not.
        let _ = self.process.stop().await;
    }
}

/// The file with the answer, where this process was started to serve it.
pub(crate) fn asked_for() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from)
}

/// Serves it until the process is ended.
pub(crate) fn serve(answer: &Path) -> Outcome<()> {
    let answer = std::fs::read_to_string(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a body")?;
    let mut headers = HeaderMap::new();
    for line in head.lines().skip(1) {
        let (name, value) = line.split_once(": ").ok_or("a header without a value")?;
        if !BY_HYPER.contains(&name) {
            headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(accept(headers, Bytes::from(body.to_owned())))
}

async fn accept(headers: HeaderMap, body: Bytes) -> Outcome<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (headers, body) = (headers.clone(), body.clone());
        tokio::spawn(async move {
            let answer = service_fn(|_: Request<hyper::body::Incoming>| {
                let mut response = Response::new(Full::new(body.clone()));
                response.headers_mut().clone_from(&headers);
                std::future::ready(Ok::<_, Infallible>(response))
            });
            // A client that leaves is no error.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}
