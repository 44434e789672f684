//! HTTP/2 connections on which frames come that cost their sender nothing.

use std::sync::Arc;

use super::frames::{
    self, CONTINUATION, DATA, END_HEADERS, ENHANCE_YOUR_CALM, HEADERS, Http2, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use super::stage::{Attack, BODY_TIMEOUT, Stage};

const CANCEL: [u8; 4] = 8_u32.to_be_bytes();
/// Streams of one flood: far more than any connection may cancel.
const STREAMS: u32 = 20_000;
/// A window that can't be added to any other: an error of the stream, for which the service has to cancel it.
const OVERFLOW: [u8; 4] = (u32::MAX >> 1).to_be_bytes();
/// `:status: 200` of the static table.
const OK: u8 = 0x88;

fn attack(name: &'static str, outcome: &'static str) -> Attack {
    Attack { name, outcome, attackers: 8, begun: 0, memory: 48 }
}

/// The end of a flood: in the words of the service, where they could still be heard.
#[track_caller]
fn expect_calm(reason: Option<u32>) {
    assert!(reason.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{reason:?}");
}

/// Sends what `frames` gives for each of very many streams, after each of which the service has a stream to forget.
async fn resets(name: &'static str, frames: impl Fn(u32) -> [Vec<u8>; 2]) {
    let requests: Arc<[u8]> = (0..STREAMS).flat_map(|n| frames(2 * n + 1).concat()).collect();
    Stage::open()
        .await
        .under(attack(name, "`ENHANCE_YOUR_CALM`, closed"), move |addr| {
            let requests = Arc::clone(&requests);
            async move {
                let mut client = Http2::open(addr).await;
                client.send(&requests).await;
                expect_calm(client.ended().await);
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_cancelled_at_once_end_the_connection() {
    let cancelled = |stream| [frames::get(stream, "/api/users/me"), frames::frame(RST_STREAM, 0, stream, &CANCEL)];
    resets("HTTP/2 rapid reset", cancelled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_make_the_service_cancel_them_end_the_connection() {
    let broken =
        |stream| [frames::post(stream, "/api/users/login"), frames::frame(WINDOW_UPDATE, 0, stream, &OVERFLOW)];
    resets("HTTP/2 resets provoked by broken frames", broken).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_go_on_and_on_end_the_connection() {
    let attack = attack("HTTP/2 CONTINUATION flood", "`ENHANCE_YOUR_CALM`, closed");
    Stage::open()
        .await
        .under(attack, |addr| async move {
            let mut client = Http2::open(addr).await;
            client.send(&frames::frame(HEADERS, 0, 1, &frames::head("GET", "/"))).await;
            let piece = frames::frame(CONTINUATION, 0, 1, &frames::field("x-filler", &"a".repeat(100)));
            expect_calm(client.flood(piece).await);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_continuations_end_the_connection() {
    let attack = attack("HTTP/2 CONTINUATION flood of empty frames", "`ENHANCE_YOUR_CALM`, closed");
    Stage::open()
        .await
        .under(attack, |addr| async move {
            let mut client = Http2::open(addr).await;
            client.send(&frames::frame(HEADERS, 0, 1, &frames::head("GET", "/"))).await;
            expect_calm(client.flood(frames::frame(CONTINUATION, 0, 1, &[])).await);
        })
        .await;
}

/// Frames that have to be acknowledged one by one: they are, in turn, and a request among them is answered.
async fn acknowledged(name: &'static str, piece: Vec<u8>) {
    let attack = Attack { attackers: 4, ..attack(name, "acknowledged in turn, its own requests answered") };
    Stage::open()
        .await
        .under(attack, move |addr| {
            let flood = piece.repeat(1000);
            async move {
                let mut client = Http2::open(addr).await;
                client.send(&[flood, frames::get(1, "/")].concat()).await;
                let answer = client.until_frame(|frame| frame.kind == HEADERS).await.expect("an answer");
                assert_eq!((answer.stream, answer.payload[0]), (1, OK), "{answer:?}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_without_end_are_acknowledged_in_turn() {
    acknowledged("HTTP/2 SETTINGS flood", frames::frame(SETTINGS, 0, 0, &[])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_without_end_are_acknowledged_in_turn() {
    acknowledged("HTTP/2 PING flood", frames::frame(PING, 0, 0, &[1; 8])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_empty_frames_comes_to_an_end() {
    let attack =
        Attack { attackers: 4, ..attack("HTTP/2 flood of empty DATA frames", "408 in `body_timeout_ms`, closed") };
    Stage::with(&[BODY_TIMEOUT])
        .await
        .under(attack, |addr| async move {
            let mut client = Http2::open(addr).await;
            client.send(&frames::post(1, "/api/users/login")).await;
            let piece = frames::frame(DATA, 0, 1, &[]).repeat(10);
            // What comes after the answer ends the connection, at times before the answer is read.
            if let Some(answer) = client.flood_until(piece, |frame| frame.kind == HEADERS).await {
                assert_eq!((answer.stream, answer.flags & END_HEADERS), (1, END_HEADERS), "{answer:?}");
                assert_ne!(answer.payload[0], OK);
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_whose_bodies_never_come_keep_nobody_out() {
    let attack = Attack {
        attackers: 20,
        ..attack(
            "20 HTTP/2 clients with 100 heads each and no body, where 1,000 requests may be inside",
            "408 in `body_timeout_ms`",
        )
    };
    let heads: Vec<u8> = (0..100).flat_map(|n| frames::post(2 * n + 1, "/api/users/login")).collect();
    Stage::with(&[BODY_TIMEOUT, ("ROLLCALL__SERVER__MAX_IN_FLIGHT", "1000")])
        .await
        .under(attack, move |addr| {
            let heads = heads.clone();
            async move {
                let mut client = Http2::open(addr).await;
                client.send(&heads).await;
                for _ in 0..100 {
                    assert!(client.until_frame(|frame| frame.kind == HEADERS).await.is_some());
                }
            }
        })
        .await;
}
