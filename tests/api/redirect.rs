//! The listener beside HTTPS: it sends plain HTTP there.

use std::net::SocketAddr;
use std::time::Instant;

use crate::harness::tls::{Authority, Files};
use crate::harness::{TestApp, Wire};
use crate::metrics::sample;

async fn redirecting(overrides: &[(&str, &str)]) -> (TestApp, SocketAddr) {
    let files = Files::of(&Authority::new().sign());
    let own = [("server.redirect_addr", "127.0.0.1:0")];
    let app = TestApp::with(&[&files.overrides(), &own[..], overrides].concat()).await;
    let addr = app.app.redirect_addr().unwrap();
    (app, addr)
}

#[tokio::test]
async fn every_request_is_sent_to_https() {
    let (app, addr) = redirecting(&[]).await;
    let port = app.addr.port();
    let mut wire = Wire::open(addr).await;
    for method in ["GET", "HEAD", "POST", "OPTIONS", "PURGE"] {
        wire.send(format!("{method} /api/users/me?a=%20b&c HTTP/1.1\r\nhost: login.example.com:80\r\n\r\n")).await;
        let answer = wire.answer_to(method).await;
        assert_eq!(answer.status, 308, "{answer:?}");
        let place = format!("https://login.example.com:{port}/api/users/me?a=%20b&c");
        assert_eq!(answer.header("location"), Some(place.as_str()));
        assert!(answer.header("x-request-id").is_some());
        assert_eq!(answer.header("strict-transport-security"), None);
        assert_eq!(answer.body, "");
    }
    let count = sample(&app.admin(), "rollcall_http_requests_total{route=\"redirect\",status=\"308\"}").await;
    assert_eq!(count, 5);
}

#[tokio::test]
async fn the_port_is_the_one_that_clients_know() {
    for (port, place) in [("443", "https://a.example/x"), ("8443", "https://a.example:8443/x")] {
        let (_app, addr) = redirecting(&[("server.redirect_port", port)]).await;
        let mut wire = Wire::open(addr).await;
        wire.send("GET /x HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
        assert_eq!(wire.answer().await.header("location"), Some(place));
    }
}

#[tokio::test]
async fn only_the_request_itself_says_where_it_goes() {
    let (_app, addr) = redirecting(&[("server.redirect_port", "443")]).await;
    let mut wire = Wire::open(addr).await;
    wire.send(
        "GET // HTTP/1.1\r\nhost: a.example\r\nx-forwarded-host: evil.example\r\nforwarded: host=evil.example\r\n\
         x-forwarded-proto: https\r\nx-original-url: /evil\r\n\r\n",
    )
    .await;
    assert_eq!(wire.answer().await.header("location"), Some("https://a.example//"));
    wire.send("GET http://a.example/y HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    assert_eq!(wire.answer().await.header("location"), Some("https://a.example/y"));
    wire.send("GET http://evil.example/y HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    wire.answer().await.expect_refusal(400, "bad_host");
}

#[tokio::test]
async fn a_request_without_a_good_host_is_refused() {
    let (_app, addr) = redirecting(&[]).await;
    for head in
        ["", "host: \r\n", "host: a b\r\n", "host: u@a\r\n", "host: a/b\r\n", "host: a\r\nhost: b\r\n", "host: a:b\r\n"]
    {
        let mut wire = Wire::open(addr).await;
        wire.send(format!("GET / HTTP/1.1\r\n{head}\r\n")).await;
        let answer = wire.answer().await;
        answer.expect_refusal(400, "bad_host");
        assert_eq!(answer.header("location"), None, "{head:?}");
        assert_eq!(wire.closed().await, b"");
    }
    let mut wire = Wire::open(addr).await;
    wire.send("GET / HTTP/1.0\r\n\r\n").await;
    wire.answer().await.expect_refusal(400, "bad_host");
}

#[tokio::test]
async fn its_limits_are_those_of_the_service() {
    let limits = [("server.header_timeout_ms", "3000"), ("server.max_connections_per_address", "2")];
    let (app, addr) = redirecting(&limits).await;
    let first = Wire::open(addr).await;
    let mut second = Wire::open(addr).await;
    second.send("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    assert_eq!(second.answer().await.status, 308);
    // Both places are taken, at either listener.
    assert_eq!(Wire::open(addr).await.closed().await, b"");
    assert_eq!(Wire::open(app.addr).await.closed().await, b"");
    assert_eq!(sample(&app.admin(), "rollcall_http_connections_refused_total").await, 2);
    for wire in [first, second] {
        assert_eq!(wire.closed().await, b"", "a silent connection is closed");
    }
    let mut wire = Wire::open(addr).await;
    wire.send(format!("GET / HTTP/1.1\r\nhost: a.example\r\nx: {}\r\n\r\n", "a".repeat(20_000))).await;
    wire.answer().await.expect_refusal(431, "headers_too_large");
}

#[tokio::test]
async fn a_request_with_a_body_gets_its_answer() {
    let (_app, addr) = redirecting(&[]).await;
    let mut wire = Wire::open(addr).await;
    let body = "a".repeat(1_000);
    wire.send(format!("POST /api/users/login HTTP/1.1\r\nhost: a.example\r\ncontent-length: 1000\r\n\r\n{body}")).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status.as_u16(), answer.header("connection")), (308, Some("close")));
}

#[tokio::test]
async fn an_unknown_challenge_is_sent_to_https_as_well() {
    let (_app, addr) = redirecting(&[("server.redirect_port", "443")]).await;
    let mut wire = Wire::open(addr).await;
    wire.send("GET /.well-known/acme-challenge/abc HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!(answer.header("location"), Some("https://a.example/.well-known/acme-challenge/abc"));
}

#[tokio::test]
async fn it_is_limited_as_the_rest_is() {
    let (_app, addr) = redirecting(&[("limits.other_per_second", "1"), ("limits.other_burst", "2")]).await;
    let mut wire = Wire::open(addr).await;
    let (mut passed, started) = (0, Instant::now());
    for _ in 0..10 {
        wire.send("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
        let answer = wire.answer().await;
        if answer.status == 308 {
            passed += 1;
        } else {
            answer.expect_refusal(429, "rate_limited");
        }
    }
    // One comes back every second.
    let most = 2 + 1 + started.elapsed().as_secs();
    assert!((2..=most).contains(&passed), "{passed} of at most {most}");
}

#[tokio::test]
async fn who_goes_on_over_the_limit_is_sent_away() {
    let (_app, addr) = redirecting(&[("limits.other_per_second", "1"), ("limits.other_burst", "1")]).await;
    let mut wire = Wire::open(addr).await;
    for _ in 0..300 {
        wire.send("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
        if wire.answer().await.header("connection") == Some("close") {
            assert_eq!(wire.closed().await, b"");
            return;
        }
    }
    panic!("300 answers on one connection");
}
