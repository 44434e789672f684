//! Requests as bytes, made before the load starts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Requests to one server, sent in turn by all connections together.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    pub(crate) addr: SocketAddr,
    bytes: Arc<[Vec<u8>]>,
    next: Arc<AtomicUsize>,
}

impl Requests {
    /// `GET /api/users/me` with each of `tokens`.
    pub(crate) fn profiles(addr: SocketAddr, tokens: &[String]) -> Self {
        Self::new(addr, tokens.iter().map(|token| profile(token)).collect())
    }

    /// `POST /api/users/login` with each of `emails`.
    pub(crate) fn logins(addr: SocketAddr, emails: &[String], password: &str) -> Self {
        let login = |email: &String| {
            let body = format!(r#"{{"email":"{email}","password":"{password}"}}"#);
            format!(
                "POST /api/users/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        Self::new(addr, emails.iter().map(|email| login(email).into_bytes()).collect())
    }

    fn new(addr: SocketAddr, bytes: Vec<Vec<u8>>) -> Self {
        Self { addr, bytes: bytes.into(), next: Arc::default() }
    }

    /// The next one.
    pub(crate) fn next(&self) -> &[u8] {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.bytes.len().max(1);
        self.bytes.get(at).map(Vec::as_slice).unwrap_or_default()
    }
}

fn profile(token: &str) -> Vec<u8> {
    format!("GET /api/users/me HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n").into_bytes()
}
