//! Connections over time: busy, idle and busy again; and how many requests may be inside.

use rustix::process::Signal;

use crate::harness::api::john;
use crate::harness::{Api, EMAIL, Home, PASSWORD, TestApp, TestDatabase, Wire, join_all, soon, until};
use crate::metrics::{idle, sample};

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

fn post(path: &str, body: &str) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json");
    format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn an_idle_connection_goes_on_as_if_nothing_had_been() {
    let app = TestApp::start().await;
    let mut wire = Wire::open(app.addr).await;
    for _ in 0..2 {
        wire.send(GET).await;
        wire.answer().await.expect_json(200);
        idle(&app, 1).await;
    }
    // A byte at a time, so that the first comes alone.
    for byte in GET.bytes() {
        wire.send([byte]).await;
    }
    wire.answer().await.expect_json(200);
    idle(&app, 1).await;
    // Two at once.
    wire.send(format!("{GET}{GET}")).await;
    wire.answer().await.expect_json(200);
    wire.answer().await.expect_json(200);
    idle(&app, 1).await;
    wire.send(post("/api/users/register", &john().to_string())).await;
    wire.answer().await.expect_json(201);
    idle(&app, 1).await;
    wire.send("nonsense\r\n\r\n").await;
    wire.answer().await.expect_refusal(400, "malformed_request");
    wire.closed().await;
    idle(&app, 0).await;
}

#[tokio::test]
async fn a_connection_with_half_a_request_is_not_idle() {
    let app = TestApp::start().await;
    let mut halves = Vec::new();
    // In a piece of its own, and together with the request before.
    for pieces in [[GET.to_owned(), GET[..20].to_owned()], [format!("{GET}{}", &GET[..20]), String::new()]] {
        let mut wire = Wire::open(app.addr).await;
        for piece in pieces {
            wire.send(piece).await;
        }
        wire.answer().await.expect_json(200);
        halves.push(wire);
    }
    let mut whole = Wire::open(app.addr).await;
    whole.send(GET).await;
    whole.answer().await.expect_json(200);
    idle(&app, 1).await;
    for wire in &mut halves {
        wire.send(&GET[20..]).await;
        wire.answer().await.expect_json(200);
    }
}

#[tokio::test]
async fn a_connection_whose_request_was_refused_unread_is_never_taken_for_idle() {
    let app = TestApp::start().await;
    let mut wire = Wire::open(app.addr).await;
    // What follows is the body of a request that was refused for its type; it is no request of its own.
    let body = format!("GET /api/users/me HTTP/1.1\r\nhost: {}\r\n\r\n", "a".repeat(64));
    let head = "POST /api/users/login HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain";
    wire.send(format!("{head}\r\ncontent-length: {}\r\n\r\n", body.len())).await;
    wire.answer().await.expect_refusal(415, "unsupported_media_type");
    let mut other = Wire::open(app.addr).await;
    other.send(GET).await;
    other.answer().await.expect_json(200);
    idle(&app, 1).await;
    wire.send(body).await;
    wire.send(GET).await;
    let rest = String::from_utf8(wire.closed().await).unwrap();
    assert!(!rest.contains(" 403 "), "the body was answered: {rest}");
}

#[tokio::test]
async fn an_idle_connection_is_closed_when_its_time_is_over() {
    let app = TestApp::with(&[("server.header_timeout_ms", "3000")]).await;
    let mut wire = Wire::open(app.addr).await;
    wire.send(GET).await;
    wire.answer().await.expect_json(200);
    idle(&app, 1).await;
    assert_eq!(wire.closed().await, b"");
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let service = home.serve_on(&db).ready().await;
    let silent = Wire::open(service.addr).await;
    let mut wire = Wire::open(service.addr).await;
    wire.send(GET).await;
    wire.answer().await.expect_json(200);
    service.program.signal(Signal::TERM);
    assert_eq!(silent.closed().await, b"");
    assert_eq!(wire.closed().await, b"");
    assert_eq!(service.program.exit().await.code, Some(0));
}

#[tokio::test]
async fn one_request_more_than_may_be_inside_is_503() {
    let app = TestApp::with(&[("server.max_in_flight", "1"), ("hashing.cost", "15")]).await;
    let mut inside = Wire::open(app.addr).await;
    inside.send(post("/api/users/login", r#"{"email":"a@example.com","password":"WrongPass1"}"#)).await;
    let admin = app.admin();
    until("a hash under way", async || sample(&admin, "rollcall_hash_lanes_busy").await == 1).await;
    let refused = app.login("b@example.com", "WrongPass1").await;
    refused.expect_refusal(503, "overloaded");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(refused.header("ratelimit").is_some(), "it has been counted");
    // Who waits for no hash is not kept out by those who do.
    app.get("/").await.expect_json(200);
    inside.answer().await.expect_refusal(401, "invalid_credentials");
    app.get("/").await.expect_json(200);
}

#[tokio::test]
async fn a_request_that_came_with_the_one_before_is_not_taken_for_idleness() {
    // Much longer than a connection may be silent before it is taken for idle.
    let app = TestApp::with(&[("hashing.cost", "13")]).await;
    let mut wire = Wire::open(app.addr).await;
    let login = post("/api/users/login", r#"{"email":"a@example.com","password":"WrongPass1"}"#);
    wire.send(format!("{GET}{login}")).await;
    wire.answer().await.expect_json(200);
    wire.answer().await.expect_refusal(401, "invalid_credentials");
}

/// The kernel completes connections that nobody has accepted, up to the backlog.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_burst_of_connections_fits_the_backlog() {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse::<usize>().unwrap();
    let burst = 2000.min(most);
    println!("a burst of {burst} connections: the system's backlog has {most}");
    // Starts a service for its limit on open files.
    let _app = TestApp::start().await;
    let listener = rollcall::http::listener::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let connected = join_all((0..burst).map(|_| tokio::net::TcpStream::connect(addr))).await;
    assert_eq!(connected.iter().filter(|stream| stream.is_ok()).count(), burst);
}

/// Descriptors for a few connections only: 128 are kept for other things.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_takes_all_files_keeps_nobody_else_out() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let service = home.serve_with_files(&db, 256).ready().await;
    assert!(service.program.stderr().contains("LimitNOFILE"), "{}", service.program.stderr());
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(Wire::open(service.addr).await);
    }
    let honest = Api::from_loopback(service.addr, 2);
    honest.get("/").await.expect_json(200);
    honest.login(EMAIL, PASSWORD).await.expect_refusal(401, "invalid_credentials");
    assert!(!service.program.stderr().contains("cannot be accepted"), "{}", service.program.stderr());
    drop(idle);
}

#[tokio::test]
async fn a_crowd_at_the_admin_listener_is_answered_in_turn() {
    let app = TestApp::start().await;
    let admin = app.admin();
    let answers = soon("all answers", join_all((0..300).map(|_| admin.get("/readyz")))).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.text() == "ok"));
    assert!(answers.iter().all(|answer| answer.header("x-request-id").is_some_and(|id| id.len() > 8)));
    let missing = admin.get("/nowhere").await;
    assert!(missing.header("x-request-id").is_some_and(|id| id.len() > 8), "{missing:?}");
}

#[tokio::test]
async fn clients_that_take_all_places_and_say_nothing_leave_soon() {
    let app = TestApp::with(&[("server.max_connections", "10"), ("server.header_timeout_ms", "600000")]).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(Wire::open(app.addr).await);
    }
    let mut honest = Wire::open(app.addr).await;
    honest.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    honest.answer().await.expect_json(200);
}

#[tokio::test]
async fn clients_that_take_all_places_and_say_next_to_nothing_leave_soon() {
    let app = TestApp::with(&[("server.max_connections", "10"), ("server.header_timeout_ms", "600000")]).await;
    // The first are accepted while there are places enough.
    let mut talking = Vec::new();
    for _ in 0..10 {
        let mut wire = Wire::open(app.addr).await;
        if talking.len() > 4 {
            wire.send("G").await;
        }
        talking.push(wire);
    }
    for _ in 0..10 {
        let mut honest = Wire::open(app.addr).await;
        honest.send("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await;
        honest.answer().await.expect_json(200);
    }
}

#[tokio::test]
async fn silent_clients_of_the_admin_listener_do_not_keep_health_checks_waiting() {
    let app = TestApp::start().await;
    let addr = app.app.admin_addr().unwrap();
    let first = tokio::spawn(Wire::open(addr).await.closed());
    let mut silent = Vec::new();
    for _ in 1..64 {
        silent.push(Wire::open(addr).await);
    }
    assert_eq!(app.admin().get("/livez").await.status, 200);
    assert!(!first.is_finished(), "those who come while places are scarce leave before the first of all must");
}
