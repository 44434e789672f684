//! Clients that take their time, or say nothing at all.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::stage::{Attack, BODY_TIMEOUT, HEADER_TIMEOUT, Stage};
use crate::harness::soon;
use crate::harness::wire::Wire;

/// From one drop to the next: many of them in each of the service's timeouts.
const DROP_EVERY: Duration = Duration::from_millis(20);
const IDLE: usize = 10_000;

/// Sends `beginning`, then `drop` for ever, and reads to the end; gives what was said.
async fn drip(addr: SocketAddr, beginning: &str, drop: &'static str) -> String {
    let (mut read, mut write) = soon("a connection", TcpStream::connect(addr)).await.unwrap().into_split();
    write.write_all(beginning.as_bytes()).await.unwrap();
    let dripping = tokio::spawn(async move {
        while write.write_all(drop.as_bytes()).await.is_ok() {
            tokio::time::sleep(DROP_EVERY).await;
        }
    });
    let mut said = Vec::new();
    // A reset is an end too.
    let _ = soon("the end of a slow client", read.read_to_end(&mut said)).await;
    dripping.abort();
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_drip_in_are_cut_off_in_time() {
    let attack = Attack {
        name: "Slowloris: 200 clients whose headers drip",
        outcome: "closed in `header_timeout_ms`",
        attackers: 200,
        begun: 0,
        memory: 32,
    };
    let round = async |addr| {
        assert_eq!(drip(addr, "GET / HTTP/1.1\r\nhost: test\r\n", "a: b\r\n").await, "", "it ends without words");
    };
    Stage::with(&[HEADER_TIMEOUT]).await.under(attack, round).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_drips_in_is_408_in_time() {
    for (name, framing, drop) in [
        ("100 clients whose body drips", "content-length: 60000\r\n\r\n{\"a\":\"", "x"),
        ("100 clients whose body drips in chunks", "transfer-encoding: chunked\r\n\r\n", "1\r\n \r\n"),
    ] {
        let outcome = "408 in `body_timeout_ms`, closed";
        let attack = Attack { name, outcome, attackers: 100, begun: 0, memory: 32 };
        let head = "POST /api/users/login HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n";
        let round = move |addr| async move {
            let said = drip(addr, &format!("{head}{framing}"), drop).await;
            assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("request_timeout"), "{said}");
        };
        Stage::with(&[BODY_TIMEOUT]).await.under(attack, round).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_says_nothing_or_little_is_left() {
    let attack = Attack {
        name: "500 clients that are silent, or stop in HTTP/2's preface",
        outcome: "closed in `header_timeout_ms`",
        attackers: 500,
        begun: 0,
        memory: 32,
    };
    Stage::with(&[HEADER_TIMEOUT])
        .await
        .under(attack, |addr| async move {
            for beginning in ["", "G", "PRI * HTTP/2.0\r\n"] {
                assert_eq!(drip(addr, beginning, "").await, "", "{beginning:?}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_come_in_one_moment_are_left_in_time() {
    let attack = Attack {
        name: "300 connections in one moment, with half a head each",
        outcome: "closed in `header_timeout_ms`",
        attackers: 1,
        begun: 0,
        memory: 32,
    };
    let round = async |addr| {
        let mut clients = JoinSet::new();
        for _ in 0..300 {
            clients.spawn(async move {
                let mut stream = soon("a connection", TcpStream::connect(addr)).await.unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nhost: te").await.unwrap();
                let mut said = Vec::new();
                // A reset is an end too.
                let _ = soon("the end", stream.read_to_end(&mut said)).await;
                assert_eq!(said, b"", "it ends without words");
            });
        }
        clients.join_all().await;
    };
    Stage::with(&[HEADER_TIMEOUT]).await.under(attack, round).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_cost_little_more_than_their_sockets() {
    let stage = Stage::open().await;
    let attack = Attack {
        name: "10,000 idle connections",
        outcome: "kept, until `header_timeout_ms`",
        attackers: 50,
        begun: IDLE,
        memory: 100,
    };
    let held = Arc::new(Mutex::new(Vec::with_capacity(IDLE)));
    let kept = Arc::clone(&held);
    stage
        .under(attack, move |addr| {
            let held = Arc::clone(&held);
            async move {
                if held.lock().unwrap().len() >= IDLE {
                    return std::future::pending().await;
                }
                let mut wire = Wire::open(addr).await;
                wire.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
                wire.answer().await.expect_json(200);
                held.lock().unwrap().push(wire);
            }
        })
        .await;
    let mut last = kept.lock().unwrap().pop().unwrap();
    last.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    last.answer().await.expect_json(200);
}
