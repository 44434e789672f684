//! HTTPS: what is agreed on in the handshake, and HTTP over it as over plain TCP.

use std::time::Instant;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::harness::api::john;
use crate::harness::tls::{Authority, Files, agreed, connect_again, try_connect};
use crate::harness::{Home, TestApp, TestDatabase, Wire, join_all, soon, until};
use crate::metrics::{idle, sample};

const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
const FAILURES: &str = "rollcall_tls_handshake_failures_total";

/// A service with a certificate of `authority`.
async fn secured(authority: &Authority, overrides: &[(&str, &str)]) -> TestApp {
    let files = Files::of(&authority.sign());
    TestApp::with(&[&files.overrides(), overrides].concat()).await
}

async fn http1(app: &TestApp, authority: &Authority) -> Wire {
    Wire::over(try_connect(app.addr, authority.client(&["http/1.1"])).await.unwrap())
}

async fn get_http2(stream: TlsStream<TcpStream>, path: &str) -> hyper::Response<Bytes> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("https://localhost{path}")).body(Empty::<Bytes>::new()).unwrap();
    let (head, body) = soon("an answer", sender.send_request(request)).await.unwrap().into_parts();
    hyper::Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn alpn_chooses_http() {
    let authority = Authority::new();
    let app = secured(&authority, &[]).await;
    let stream = try_connect(app.addr, authority.client(&["http/1.1", "h2"])).await.unwrap();
    assert_eq!(agreed(&stream), Some(b"h2".as_slice()));
    let answer = get_http2(stream, "/").await;
    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
    for alpn in [["http/1.1"].as_slice(), &[]] {
        let stream = try_connect(app.addr, authority.client(alpn)).await.unwrap();
        assert_eq!(agreed(&stream), alpn.first().map(|name| name.as_bytes()));
        let mut wire = Wire::over(stream);
        wire.send(GET).await;
        wire.answer().await.expect_json(200);
    }
    for alpn in ["h3", "acme-tls/1"] {
        assert!(try_connect(app.addr, authority.client(&[alpn])).await.is_err(), "{alpn}");
    }
}

#[tokio::test]
async fn what_alpn_chose_is_what_is_spoken() {
    let authority = Authority::new();
    let app = secured(&authority, &[]).await;
    let mut wire = http1(&app, &authority).await;
    wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(wire.closed().await, b"", "not even HTTP/2's settings");
    let mut wire = Wire::over(try_connect(app.addr, authority.client(&["h2"])).await.unwrap());
    wire.send(GET).await;
    let said = String::from_utf8_lossy(&wire.closed().await).into_owned();
    assert!(!said.contains("HTTP/1.1"), "{said}");
}

#[tokio::test]
async fn the_api_is_the_same_as_over_plain_http() {
    let authority = Authority::new();
    let app = secured(&authority, &[]).await;
    let mut wire = http1(&app, &authority).await;
    let body = john().to_string();
    let head = "POST /api/users/register HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json";
    wire.send(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    wire.answer().await.expect_json(201);
    wire.send("GET /api/users/me HTTP/1.1\r\nhost: localhost\r\nx-forwarded-proto: http\r\n\r\n").await;
    wire.answer().await.expect_refusal(403, "not_authenticated");
    wire.send("nonsense\r\n\r\n").await;
    wire.answer().await.expect_refusal(400, "malformed_request");
    assert_eq!(wire.closed().await, b"");
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_sessions_resumed() {
    let authority = Authority::new();
    let app = secured(&authority, &[]).await;
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let config = std::sync::Arc::new(authority.client_of(&[version], &["http/1.1"]));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut stream = connect_again(app.addr, &config).await.unwrap();
            assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind));
            stream.write_all(GET.as_bytes()).await.unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).await.unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
        }
    }
}

/// What a client says that offers no more than `version`.
fn hello(version: u16) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    // No session; two suites that these versions know; no compression.
    body.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0]);
    // The signatures that it knows: RSA and ECDSA with SHA-256.
    body.extend([0, 10, 0, 13, 0, 6, 0, 4, 4, 1, 4, 3]);
    let mut handshake = vec![1, 0, 0, u8::try_from(body.len()).unwrap()];
    handshake.extend(body);
    let mut record = vec![22, 3, 1, 0, u8::try_from(handshake.len()).unwrap()];
    record.extend(handshake);
    record
}

#[tokio::test]
async fn older_versions_are_refused() {
    let authority = Authority::new();
    let app = secured(&authority, &[]).await;
    for version in [0x0300, 0x0301, 0x0302] {
        let mut wire = Wire::open(app.addr).await;
        wire.send(hello(version)).await;
        let alert = wire.closed().await;
        // A fatal alert (2): protocol_version (70).
        assert_eq!((alert.first(), alert.get(5..)), (Some(&21), Some([2, 70].as_slice())), "{version:x}: {alert:?}");
    }
    assert_eq!(sample(&app.admin(), &format!("{FAILURES}{{reason=\"refused\"}}")).await, 3);
}

#[tokio::test]
async fn a_client_that_does_not_get_through_its_handshake_is_left() {
    let authority = Authority::new();
    let app = secured(&authority, &[("server.handshake_timeout_ms", "2000")]).await;
    let silent = Wire::open(app.addr).await;
    let mut slow = Wire::open(app.addr).await;
    slow.send(&hello(0x0303)[..20]).await;
    for wire in [silent, slow] {
        assert_eq!(wire.closed().await, b"");
    }
    let admin = app.admin();
    assert_eq!(sample(&admin, &format!("{FAILURES}{{reason=\"timeout\"}}")).await, 2);
    drop(Wire::open(app.addr).await);
    until("no connection", async || sample(&admin, "rollcall_http_connections").await == 0).await;
    let broken = sample(&admin, &format!("{FAILURES}{{reason=\"broken\"}}")).await;
    assert_eq!(broken, 0, "who only looks whether somebody listens has not failed");
    // One that is through has the time of a request.
    let mut wire = http1(&app, &authority).await;
    wire.send(GET).await;
    wire.answer().await.expect_json(200);
}

#[tokio::test]
async fn a_client_of_plain_http_is_told_what_is_wrong() {
    let authority = Authority::new();
    let app = secured(&authority, &[("server.hsts_max_age_s", "60")]).await;
    let mut wire = Wire::open(app.addr).await;
    wire.send(GET).await;
    let answer = wire.answer().await;
    answer.expect_refusal(400, "tls_required");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(answer.header("strict-transport-security"), None);
    assert_eq!(wire.closed().await, b"");
    assert_eq!(sample(&app.admin(), &format!("{FAILURES}{{reason=\"plain_http\"}}")).await, 1);
}

#[tokio::test]
async fn browsers_are_asked_to_come_by_https_where_it_is_served() {
    let authority = Authority::new();
    let hsts = [("server.hsts_max_age_s", "31536000")];
    let app = secured(&authority, &hsts).await;
    let mut wire = http1(&app, &authority).await;
    for request in [GET, "GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n", "nonsense\r\n\r\n"] {
        wire.send(request).await;
        let answer = wire.answer().await;
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"), "{request}");
    }
    let stream = try_connect(app.addr, authority.client(&["h2"])).await.unwrap();
    assert_eq!(get_http2(stream, "/").await.headers()["strict-transport-security"], "max-age=31536000");
    for app in [secured(&authority, &[]).await, TestApp::with(&hsts).await] {
        let mut wire =
            if app.app.scheme() == "https" { http1(&app, &authority).await } else { Wire::open(app.addr).await };
        wire.send(GET).await;
        assert_eq!(wire.answer().await.header("strict-transport-security"), None);
    }
}

#[tokio::test]
async fn an_idle_connection_goes_on_over_tls() {
    let authority = Authority::new();
    let app = secured(&authority, &[]).await;
    let mut wire = http1(&app, &authority).await;
    for _ in 0..3 {
        wire.send(GET).await;
        wire.answer().await.expect_json(200);
        idle(&app, 1).await;
    }
    // A byte in each record, so that the first comes alone.
    for byte in GET.bytes() {
        wire.send([byte]).await;
    }
    wire.answer().await.expect_json(200);
    idle(&app, 1).await;
    wire.send(format!("{GET}{GET}")).await;
    wire.answer().await.expect_json(200);
    wire.answer().await.expect_json(200);
}

#[tokio::test]
async fn a_connection_whose_answer_is_not_read_is_never_taken_for_idle() {
    let authority = Authority::new();
    let app = secured(&authority, &[]).await;
    let mut unread = http1(&app, &authority).await;
    // More than the system keeps for a reader: what is left waits within TLS.
    let count = 40;
    let big = "GET /redoc/redoc.js HTTP/1.1\r\nhost: localhost\r\n\r\n";
    unread.send(big.repeat(count)).await;
    let mut other = http1(&app, &authority).await;
    for _ in 0..2 {
        other.send(GET).await;
        other.answer().await.expect_json(200);
        // Takes two looks at each connection.
        idle(&app, 1).await;
    }
    let mut lengths = Vec::new();
    for _ in 0..count {
        lengths.push(unread.answer().await.body.len());
    }
    assert!(lengths[0] > 500_000 && lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
}

/// Whether TLS said that it ends, and not only TCP.
async fn ends_well(mut stream: TlsStream<TcpStream>) -> bool {
    let mut rest = Vec::new();
    soon("the end", stream.read_to_end(&mut rest)).await.is_ok_and(|count| count == 0)
}

#[tokio::test]
async fn connections_end_with_a_farewell() {
    let authority = Authority::new();
    let app = secured(&authority, &[("server.header_timeout_ms", "2000")]).await;
    for alpn in ["http/1.1", "h2"] {
        let stream = try_connect(app.addr, authority.client(&[alpn])).await.unwrap();
        assert!(ends_well(stream).await, "a connection without a request, {alpn}");
    }
    let mut stream = try_connect(app.addr, authority.client(&["http/1.1"])).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon("the whole answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[tokio::test]
async fn requests_under_way_are_answered_over_tls_when_it_stops() {
    let (home, db, authority) = (Home::new(), TestDatabase::migrated().await, Authority::new());
    let files = Files::of(&authority.sign());
    let start = home
        .serve_on(&db)
        .env("ROLLCALL__SERVER__TLS_CERT_FILE", files.certificate.to_str().unwrap())
        .env("ROLLCALL__SERVER__TLS_KEY_FILE", files.key.to_str().unwrap())
        .env("ROLLCALL__HASHING__COST", "10")
        .env("ROLLCALL__HASHING__LANES", "1")
        // However slow the machine is, none of them is refused.
        .env("ROLLCALL__HASHING__MAX_WAIT_MS", "60000");
    let service = start.ready().await;
    assert_eq!(service.program.stdout(), format!("listening on https://{}\n", service.addr));
    let connect = async || {
        let mut wire = Wire::over(try_connect(service.addr, authority.client(&["http/1.1"])).await.unwrap());
        wire.send(GET).await;
        wire.answer().await.expect_json(200);
        wire
    };
    let (mut wires, idle) = (join_all((0..4).map(|_| connect())).await, connect().await);
    let shaking = Wire::open(service.addr).await;
    let stream = try_connect(service.addr, authority.client(&["http/1.1"])).await.unwrap();
    for (n, wire) in wires.iter_mut().enumerate() {
        let body = format!(r#"{{"email":"nobody@example.com","password":"WrongPass{n}"}}"#);
        let head = "POST /api/users/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json";
        wire.send(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    }
    service.program.signal(Signal::TERM);
    for wire in &mut wires {
        wire.answer().await.expect_refusal(401, "invalid_credentials");
    }
    assert_eq!(idle.closed().await, b"");
    assert_eq!(shaking.closed().await, b"");
    assert!(ends_well(stream).await);
    assert_eq!(service.program.exit().await.code, Some(0));
}

#[tokio::test]
async fn who_goes_on_over_the_limit_is_sent_away() {
    let authority = Authority::new();
    let app = secured(&authority, &[("limits.other_per_second", "1"), ("limits.other_burst", "1")]).await;
    let stream = try_connect(app.addr, authority.client(&["h2"])).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let ended = tokio::spawn(connection);
    let mut refused = 0;
    while sender.ready().await.is_ok() {
        let request = Request::get("https://localhost/").body(Empty::<Bytes>::new()).unwrap();
        let Ok(answer) = soon("an answer", sender.send_request(request)).await else { break };
        refused += u32::from(answer.status() == 429);
        assert!(refused < 300, "300 refusals on one connection");
    }
    assert!(refused >= 200, "{refused}");
    soon("the end", ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_network_that_begins_too_many_handshakes_is_left() {
    let authority = Authority::new();
    let app = secured(&authority, &[("limits.handshake_per_second", "1"), ("limits.handshake_burst", "3")]).await;
    let begun = async || try_connect(app.addr, authority.client(&["http/1.1"])).await.is_ok();
    let (mut passed, started) = (0, Instant::now());
    for _ in 0..10 {
        passed += u64::from(begun().await);
    }
    // One comes back every second.
    let most = 3 + 1 + started.elapsed().as_secs();
    assert!((3..=most).contains(&passed), "{passed} of at most {most}");
    until("a handshake too many", async || !begun().await).await;
    assert!(sample(&app.admin(), "rollcall_http_connections_refused_total").await > 0);
    until("another token", begun).await;
}
