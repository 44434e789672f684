//! Requests that are small to send and large to read.

use std::sync::Arc;

use super::frames::{self, CONTINUATION, END_HEADERS, END_STREAM, HEADERS, Http2};
use super::stage::{Attack, Stage};
use crate::harness::wire::Wire;

fn attack(name: &'static str, outcome: &'static str) -> Attack {
    Attack { name, outcome, attackers: 16, begun: 0, memory: 48 }
}

/// Sends a head that is refused before its end, and reads the refusal and the end.
async fn refused(stage: &Stage, attack: Attack, head: String, status: u16, code: &'static str) {
    let head: Arc<str> = head.into();
    stage
        .under(attack, move |addr| {
            let head = Arc::clone(&head);
            async move {
                let mut wire = Wire::open(addr).await;
                wire.send(&*head).await;
                wire.answer().await.expect_refusal(status, code);
                assert_eq!(wire.closed().await, b"", "one answer, then the end");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_number_are_431() {
    let head = format!("GET / HTTP/1.1\r\nhost: test\r\n{}\r\n", "a: b\r\n".repeat(2500));
    let attack = attack("2,500 header fields", "431, closed");
    refused(&Stage::open().await, attack, head, 431, "headers_too_large").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_without_end_is_431() {
    let head = format!("GET / HTTP/1.1\r\nhost: test\r\nx-filler: {}", "a".repeat(1 << 20));
    let attack = attack("A header field of 1 MB and more", "431, closed");
    refused(&Stage::open().await, attack, head, 431, "headers_too_large").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_without_end_is_refused() {
    let head = format!("GET /{}", "a".repeat(1 << 20));
    let attack = attack("A path of 1 MB and more", "431, closed");
    refused(&Stage::open().await, attack, head, 431, "headers_too_large").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_entry_that_is_named_without_number_is_refused() {
    let attack = attack("HPACK bomb: 16 KB that stand for 64 MB of headers", "refused, no field kept");
    let mut block = frames::head("GET", "/");
    block.extend(frames::kept_field("x-filler", &"a".repeat(3900)));
    let names = vec![0xbe; 16_000];
    Stage::open()
        .await
        .under(attack, move |addr| {
            let (block, names) = (block.clone(), names.clone());
            async move {
                let mut client = Http2::open(addr).await;
                let mut bytes = frames::frame(HEADERS, END_STREAM, 1, &block);
                bytes.extend(frames::frame(CONTINUATION, END_HEADERS, 1, &names));
                client.send(&bytes).await;
                let answer = client.until_frame(|frame| frame.stream == 1 || frame.kind == frames::GOAWAY).await;
                let answer = answer.expect("a refusal");
                // `:status: 200` in one byte is what it must not be.
                assert!(answer.kind != HEADERS || answer.payload[0] != 0x88, "{answer:?}");
            }
        })
        .await;
}
