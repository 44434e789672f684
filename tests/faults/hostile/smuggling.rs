//! Requests that two readers could split in two ways: whoever stands before the service must never see one request where
//! the service sees two.

use super::stage::{Attack, Stage};
use crate::harness::wire::Wire;

/// What would be answered with 404 if it were taken for a request.
const INNER: &str = "GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n";

/// A head of a POST with these lines, then this body.
fn post(lines: &str, body: &str) -> String {
    format!("POST /api/users/login HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n{lines}\r\n{body}")
}

/// Shapes that are refused as a whole, each with its name.
fn shapes() -> Vec<(&'static str, String)> {
    let chunked = format!("0\r\n\r\n{INNER}");
    let length = chunked.len();
    vec![
        ("CL.TE", post(&format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"), &chunked)),
        ("TE.CL", post("transfer-encoding: chunked\r\ncontent-length: 4\r\n", &format!("26\r\n{INNER}\r\n0\r\n\r\n"))),
        ("TE.TE, the second unknown", post("transfer-encoding: chunked\r\ntransfer-encoding: x\r\n", &chunked)),
        ("TE that does not end in chunked", post("transfer-encoding: chunked, identity\r\n", &chunked)),
        ("TE with chunked twice", post("transfer-encoding: chunked, chunked\r\n", &chunked)),
        ("TE unknown", post("transfer-encoding: xchunked\r\n", &chunked)),
        ("TE with a vertical tab", post("transfer-encoding: \u{b}chunked\r\n", &chunked)),
        (
            "TE in HTTP/1.0",
            post("transfer-encoding: chunked\r\n", &chunked)
                .replace("HTTP/1.1\r\nhost: test\r\nc", "HTTP/1.0\r\nhost: test\r\nc"),
        ),
        (
            "white space before the colon",
            post(&format!("transfer-encoding : chunked\r\ncontent-length: {length}\r\n"), &chunked),
        ),
        ("obs-fold", post(&format!("x: a\r\n transfer-encoding: chunked\r\ncontent-length: {length}\r\n"), &chunked)),
        ("obs-fold of TE", post("transfer-encoding:\r\n chunked\r\n", &chunked)),
        ("two lengths", post("content-length: 2\r\ncontent-length: 44\r\n", &format!("{{}}{INNER}"))),
        ("two lengths in one field", post("content-length: 2, 44\r\n", &format!("{{}}{INNER}"))),
        ("a length with a sign", post("content-length: +2\r\n", &format!("{{}}{INNER}"))),
        ("a negative length", post("content-length: -1\r\n", INNER)),
        ("a length in hexadecimal", post("content-length: 0x2\r\n", &format!("{{}}{INNER}"))),
        ("a length beyond 64 bits", post("content-length: 18446744073709551618\r\n", &format!("{{}}{INNER}"))),
        ("a length of nothing", post("content-length:\r\n", INNER)),
        (
            "a bare CR in a value",
            post(&format!("x: a\rtransfer-encoding: chunked\r\ncontent-length: {length}\r\n"), &chunked),
        ),
        ("a NUL in a value", post(&format!("x: a\0b\r\ncontent-length: {length}\r\n"), &chunked)),
        ("a NUL in a name", post(&format!("x\0: a\r\ncontent-length: {length}\r\n"), &chunked)),
        (
            "a line without a colon",
            post(&format!("transfer-encoding chunked\r\ncontent-length: {length}\r\n"), &chunked),
        ),
        ("a field before the first", format!("POST / HTTP/1.1\r\n host: test\r\n\r\n{INNER}")),
        (
            "TE behind a bare LF",
            post(&format!("x: a\ntransfer-encoding: chunked\r\ncontent-length: {length}\r\n"), &chunked),
        ),
    ]
}

/// Bodies in chunks that are out of form: the head is good, so the refusal is of the body.
fn chunks() -> Vec<(&'static str, String)> {
    let post = |body: &str| post("transfer-encoding: chunked\r\n", body);
    vec![
        ("a chunk's size in no form", post(&format!("z\r\n{{}}\r\n0\r\n\r\n{INNER}"))),
        ("a chunk's size with a sign", post(&format!("+2\r\n{{}}\r\n0\r\n\r\n{INNER}"))),
        ("a chunk's size with a prefix", post(&format!("0x2\r\n{{}}\r\n0\r\n\r\n{INNER}"))),
        ("a chunk's size beyond 64 bits", post(&format!("10000000000000002\r\n{{}}\r\n0\r\n\r\n{INNER}"))),
        ("a chunk longer than its size", post(&format!("2\r\n{{}}}}\r\n0\r\n\r\n{INNER}"))),
        ("a chunk's size ended by a bare LF", post(&format!("2\n{{}}\r\n0\r\n\r\n{INNER}"))),
        ("a chunk's extension with a bare LF", post(&format!("2;a\n{{}}\r\n0\r\n\r\n{INNER}"))),
        ("a chunk ended by a bare LF", post(&format!("2\r\n{{}}\n0\r\n\r\n{INNER}"))),
        ("a chunk's extension without end", post(&format!("2;{}\r\n{{}}\r\n0\r\n\r\n{INNER}", "a".repeat(20_000)))),
        ("trailers without end", post(&format!("2\r\n{{}}\r\n0\r\n{}\r\n{INNER}", "a: b\r\n".repeat(5_000)))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_two_meanings_is_400_and_the_end() {
    let attack = Attack {
        name: "Request smuggling: 34 shapes",
        outcome: "400, closed, nothing more answered",
        attackers: 2,
        begun: 2,
        memory: 32,
    };
    Stage::open()
        .await
        .under(attack, |addr| async move {
            for (name, request) in shapes().into_iter().chain(chunks()) {
                let mut wire = Wire::open(addr).await;
                wire.send(request).await;
                let answer = wire.answer().await;
                assert_eq!(answer.status, 400, "{name}: {answer:?}");
                let rest = wire.closed().await;
                assert_eq!(String::from_utf8_lossy(&rest), "", "{name}: more than one answer");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_body_of_a_refused_request_is_never_a_request() {
    let attack = Attack {
        name: "Requests in the bodies of requests that are refused unread",
        outcome: "one answer for each request",
        attackers: 4,
        begun: 4,
        memory: 32,
    };
    Stage::open()
        .await
        .under(attack, |addr| async move {
            for (line, status) in [
                ("GET /", 200),
                ("POST /nowhere", 404),
                ("DELETE /api/users/me", 405),
                ("POST /api/users/login", 415),
                ("GET /api/users/me", 403),
            ] {
                let mut wire = Wire::open(addr).await;
                let head =
                    format!("{line} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}", INNER.len());
                wire.send(format!("{head}\r\n\r\n{INNER}")).await;
                assert_eq!(wire.answer().await.status, status, "{line}");
                assert_eq!(wire.closed().await, b"", "{line}: more than one answer");
            }
        })
        .await;
}
