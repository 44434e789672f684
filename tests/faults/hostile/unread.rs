//! Clients that ask and never read what they are told.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use super::frames::{self, Http2, PING, SETTINGS, WINDOW_UPDATE};
use super::stage::{Attack, DRAIN_TIMEOUT, HEADER_TIMEOUT, Stage, WRITE_TIMEOUT};
use crate::harness::soon;

/// The largest answer there is: more than a socket takes by itself.
const LARGE: &str = "/docs/swagger-ui-bundle.js";
const RECEIVE_BUFFER: u32 = 4096;
/// `SETTINGS_INITIAL_WINDOW_SIZE`.
const INITIAL_WINDOW: u16 = 4;

/// Sends `requests` once and `more` for ever, and reads nothing, until the service leaves.
async fn never_read(addr: SocketAddr, requests: Vec<u8>, more: &[u8]) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
    let mut stream = soon("a connection", socket.connect(addr)).await.unwrap();
    soon("the end of a client that does not read", async {
        if stream.write_all(&requests).await.is_ok() {
            while stream.write_all(more).await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_is_left_in_time() {
    let attack = Attack {
        name: "200 clients that ask for 1.4 MB each and never read",
        outcome: "closed in `write_timeout_ms`",
        attackers: 200,
        begun: 0,
        memory: 64,
    };
    Stage::with(&[WRITE_TIMEOUT])
        .await
        .under(attack, |addr| async move {
            let request = format!("GET {LARGE} HTTP/1.1\r\nhost: test\r\n\r\n");
            never_read(addr, request.repeat(100).into_bytes(), b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_client_that_never_reads_is_left_in_time() {
    let attack = Attack {
        name: "50 HTTP/2 clients that ask for 100 times 1.4 MB and never read",
        outcome: "closed in `write_timeout_ms`",
        attackers: 50,
        begun: 0,
        memory: 128,
    };
    Stage::with(&[WRITE_TIMEOUT])
        .await
        .under(attack, |addr| async move {
            let window = (u32::MAX >> 1).to_be_bytes();
            let settings = [&INITIAL_WINDOW.to_be_bytes()[..], &window].concat();
            let mut requests = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            requests.extend(frames::frame(SETTINGS, 0, 0, &settings));
            requests.extend(frames::frame(WINDOW_UPDATE, 0, 0, &((u32::MAX >> 1) - 65_535).to_be_bytes()));
            for n in 0..100 {
                requests.extend(frames::get(2 * n + 1, LARGE));
            }
            never_read(addr, requests, &frames::frame(PING, 0, 0, &[0; 8])).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_client_that_gives_no_window_is_left_in_time() {
    let attack = Attack {
        name: "50 HTTP/2 clients that ask for 100 times 1.4 MB and take one byte of each",
        outcome: "told to go in `header_timeout_ms`, closed in `drain_timeout_ms`",
        attackers: 50,
        begun: 0,
        memory: 64,
    };
    Stage::with(&[HEADER_TIMEOUT, DRAIN_TIMEOUT])
        .await
        .under(attack, |addr| async move {
            let mut client = Http2::with(addr, &[(INITIAL_WINDOW, 1)]).await;
            for n in 0..100 {
                client.send(&frames::get(2 * n + 1, LARGE)).await;
            }
            // Says that it is there as often as it is asked.
            while let Some(frame) = client.next().await {
                if frame.kind == PING && frame.flags & frames::ACK == 0 {
                    client.send(&frames::frame(PING, frames::ACK, 0, &frame.payload)).await;
                }
            }
        })
        .await;
}
