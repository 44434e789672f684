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
        let login = |email: &String| post("login", &format!(r#"{{"email":"{email}","password":"{password}"}}"#));
        Self::new(addr, emails.iter().map(login).collect())
    }

    /// `POST /api/users/register` of `count` users, whose addresses begin with `prefix`.
    pub(crate) fn registrations(addr: SocketAddr, prefix: &str, count: usize) -> Self {
        let body =
            |n| format!(r#"{{"name":"User {n}","email":"{prefix}{n}@example.com","password":"Measured-2-Day"}}"#);
        Self::new(addr, (0..count).map(|n| post("register", &body(n))).collect())
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

fn post(action: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST /api/users/{action} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn profile(token: &str) -> Vec<u8> {
    format!("GET /api/users/me HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n").into_bytes()
}
