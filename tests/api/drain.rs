//! How the program stops: what it accepted is answered, then it is gone.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;

use crate::harness::api::john;
use crate::harness::scratch::free_port;
use crate::harness::{Api, Home, TestDatabase, Wire, join_all, program::Service, soon, until};

fn login(n: usize) -> String {
    let body = format!(r#"{{"email":"nobody@example.com","password":"WrongPass{n}"}}"#);
    format!(
        "POST /api/users/login HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A service whose every password check takes a while, one after the other.
async fn slow(home: &Home, db: &TestDatabase, cost: &str) -> Service {
    let start = home.serve_on(db).env("ROLLCALL__HASHING__COST", cost).env("ROLLCALL__HASHING__LANES", "1");
    start.env("ROLLCALL__HASHING__MAX_WAIT_MS", "600000").ready().await
}

/// Connections that the service has accepted.
async fn connections(service: &Service, count: usize) -> Vec<Wire> {
    let mut wires = Vec::new();
    for _ in 0..count {
        let mut wire = Wire::open(service.addr).await;
        wire.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        wire.answer().await.expect_json(200);
        wires.push(wire);
    }
    wires
}

async fn answers_what_it_accepted(signal: Signal) {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let service = slow(&home, &db, "10").await;
    let mut wires = connections(&service, 6).await;
    for (n, wire) in wires.iter_mut().enumerate() {
        wire.send(login(n)).await;
    }
    service.program.signal(signal);
    for wire in &mut wires {
        wire.answer().await.expect_refusal(401, "invalid_credentials");
    }
    let exit = service.program.exit().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
}

#[tokio::test]
async fn after_sigterm_requests_under_way_are_answered() {
    answers_what_it_accepted(Signal::TERM).await;
}

#[tokio::test]
async fn after_sigint_requests_under_way_are_answered() {
    answers_what_it_accepted(Signal::INT).await;
}

#[tokio::test]
async fn a_request_that_is_still_arriving_is_answered() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let mut service = home.serve_on(&db).ready().await;
    let mut wire = connections(&service, 1).await.remove(0);
    let body = john().to_string();
    let (begin, end) = body.split_at(20);
    wire.send(format!(
        "POST /api/users/register HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n\
         content-length: {}\r\n\r\n{begin}",
        body.len()
    ))
    .await;
    // The service asks for the body: it has accepted the request.
    assert_eq!(wire.answer().await.status, 100);
    service.program.signal(Signal::TERM);
    service.program.logged("stopping").await;
    wire.send(end).await;
    let answer = wire.answer().await;
    answer.expect_json(201);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(service.program.exit().await.code, Some(0));
    assert_eq!(db.users().await, 1);
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let mut service = slow(&home, &db, "15").await;
    let mut wires = connections(&service, 8).await;
    for (n, wire) in wires.iter_mut().enumerate() {
        wire.send(login(n)).await;
    }
    service.program.signal(Signal::TERM);
    service.program.logged("stopping").await;
    service.program.signal(Signal::TERM);
    service.program.exit().await;
    let last = wires.pop().unwrap().closed().await;
    let last = String::from_utf8_lossy(&last);
    // The end of the hashers may still reach the client before that of the process.
    let is_cut_off = last.is_empty() || last.starts_with("HTTP/1.1 503");
    assert!(is_cut_off, "it did not wait for the last of eight slow checks: {last}");
}

#[tokio::test]
async fn requests_that_take_longer_than_the_drain_may_do_not_hold_the_end_up() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let start = home.serve_on(&db).env("ROLLCALL__HASHING__COST", "15").env("ROLLCALL__HASHING__LANES", "1");
    let service = start.env("ROLLCALL__SERVER__DRAIN_TIMEOUT_MS", "50").env("ROLLCALL__HASHING__MAX_WAIT_MS", "60000");
    let service = service.ready().await;
    let mut wires = connections(&service, 8).await;
    for (n, wire) in wires.iter_mut().enumerate() {
        wire.send(login(n)).await;
    }
    let exit = service.stop().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(exit.stderr.contains("server.drain_timeout_ms"), "{exit:?}");
    let last = String::from_utf8(wires.pop().unwrap().closed().await).unwrap();
    assert!(last.is_empty() || last.starts_with("HTTP/1.1 503 "), "{last}");
}

#[tokio::test]
async fn idle_connections_do_not_hold_the_end_up() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let day = "86400000";
    let start = home.serve_on(&db).env("ROLLCALL__SERVER__DRAIN_TIMEOUT_MS", day);
    let service = start.env("ROLLCALL__SERVER__HEADER_TIMEOUT_MS", day).ready().await;
    let idle = connections(&service, 3).await;
    let silent = Wire::open(service.addr).await;
    assert_eq!(service.stop().await.code, Some(0));
    for wire in idle.into_iter().chain([silent]) {
        assert_eq!(wire.closed().await, b"");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_keep_asking_see_no_broken_request() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let service = home.serve_on(&db).ready().await;
    service.register_john().await;
    let token = service.token().await;
    let answered = AtomicUsize::new(0);
    let (wires, me) = (connections(&service, 8).await, format!("authorization: Bearer {token}\r\n"));
    let clients = join_all(wires.into_iter().map(|mut wire| {
        let (answered, me) = (&answered, &me);
        async move {
            loop {
                wire.send(format!("GET /api/users/me HTTP/1.1\r\nhost: test\r\n{me}\r\n")).await;
                let answer = wire.answer().await;
                answer.expect_json(200);
                answered.fetch_add(1, Ordering::Relaxed);
                // Told so, a client asks elsewhere.
                if answer.header("connection") == Some("close") {
                    assert_eq!(wire.closed().await, b"");
                    return;
                }
            }
        }
    }));
    let stop = async {
        until("some answers", async || answered.load(Ordering::Relaxed) > 100).await;
        service.program.signal(Signal::TERM);
    };
    soon("every client's last answer", async { tokio::join!(clients, stop) }).await;
    let addr = service.addr;
    assert_eq!(service.program.exit().await.code, Some(0));
    assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_signal_during_the_start_ends_the_start() {
    let (home, db) = (Home::new(), TestDatabase::empty().await);
    let mut program = home.serve_on(&db).env("ROLLCALL__TELEMETRY__LOG_FILTER", "info").spawn();
    program.logged("schema").await;
    program.signal(Signal::TERM);
    let exit = program.exit().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
}

#[tokio::test]
async fn balancers_have_time_to_notice_before_the_listener_closes() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let start = home.serve_on(&db).env("ROLLCALL__SERVER__DRAIN_NOTICE_MS", "600000");
    let admin = free_port();
    let mut service = start.env("ROLLCALL__TELEMETRY__ADMIN_ADDR", &format!("127.0.0.1:{admin}")).ready().await;
    let admin = Api::new(([127, 0, 0, 1], admin).into());
    until("ready", async || admin.get("/readyz").await.status == 200).await;
    service.program.signal(Signal::TERM);
    until("not ready", async || admin.get("/readyz").await.status == 503).await;
    // Requests that a balancer still sends are served, each on a connection that ends with it.
    for _ in 0..3 {
        let mut wire = Wire::open(service.addr).await;
        wire.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        let answer = wire.answer().await;
        assert_eq!(answer.header("connection"), Some("close"));
        answer.expect_json(200);
    }
    service.program.signal(Signal::TERM);
    service.program.logged("stopped at once").await;
    assert_eq!(service.program.exit().await.code, Some(0));
}
