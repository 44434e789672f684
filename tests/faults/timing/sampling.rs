//! Logins of several classes, taken in turns and timed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use serde_json::json;
use uuid::Uuid;

use crate::harness::PATIENCE;

/// Samples of each class.
const SAMPLES: usize = 500;
/// Logins of each class before them, which find nothing in any cache.
const WARM_UP: usize = 20;

/// Logins that are answered alike.
#[derive(Clone)]
pub(super) struct Class {
    pub(super) name: &'static str,
    pub(super) email: String,
    /// A password for each login: those that are the same at the same time are checked only once.
    pub(super) password: fn(usize) -> String,
    pub(super) status: u16,
    pub(super) expected: Expected,
}

/// What its times must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// None that the comparison can tell from the first class's.
    Alike,
    /// Others than the first class's: what the comparison has to find.
    Apart,
    /// Whatever they are: a difference that is known, and shown in the table.
    Shown,
}

impl Class {
    /// Wrong passwords of the account of that name, if there is one.
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: "",
            email: format!("{name}@example.com"),
            password: |at| format!("Wrong-{at:06}"),
            status: 401,
            expected: Expected::Alike,
        }
    }

    fn request(&self, addr: SocketAddr, at: usize) -> String {
        let body = json!({"email": self.email, "password": (self.password)(at)}).to_string();
        let length = body.len();
        format!(
            "POST /api/users/login HTTP/1.1\r\nhost: {addr}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    }
}

/// The times of each class in microseconds, from the first byte sent to the last received.
pub(super) async fn sample(addr: SocketAddr, classes: &[Class]) -> Vec<Vec<f64>> {
    let classes = classes.to_vec();
    // A thread that waits for its answer alone is woken sooner than a task that shares one.
    tokio::task::spawn_blocking(move || sample_in_turns(addr, &classes)).await.unwrap()
}

fn sample_in_turns(addr: SocketAddr, classes: &[Class]) -> Vec<Vec<f64>> {
    let mut connection = TcpStream::connect(addr).unwrap();
    connection.set_nodelay(true).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut samples = vec![Vec::with_capacity(SAMPLES); classes.len()];
    for at in 0..WARM_UP + SAMPLES {
        let mut turns: Vec<_> = (0..classes.len()).collect();
        turns.sort_by_cached_key(|_| Uuid::new_v4());
        for turn in turns {
            let class = &classes[turn];
            let request = class.request(addr, at);
            let sent = Instant::now();
            connection.write_all(request.as_bytes()).unwrap();
            let answer = read_answer(&mut connection);
            let took = sent.elapsed();
            assert!(answer.starts_with(&format!("HTTP/1.1 {} ", class.status)), "{}: {answer}", class.name);
            if at >= WARM_UP {
                samples[turn].push(took.as_secs_f64() * 1e6);
            }
        }
    }
    samples
}

/// A whole answer.
fn read_answer(connection: &mut TcpStream) -> String {
    let (mut received, mut bytes) = (String::new(), [0; 4096]);
    loop {
        if let Some((head, body)) = received.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("its length");
            if body.len() >= length.parse::<usize>().unwrap() {
                return received;
            }
        }
        let count = connection.read(&mut bytes).unwrap();
        assert!(count > 0, "the connection closed after {received:?}");
        received.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
}
