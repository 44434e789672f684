//! How many connections one network may have.

use crate::harness::tls::{Authority, Files, try_connect};
use crate::harness::{TestApp, Wire, until};
use crate::metrics::sample;

const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
const REFUSED: &str = "rollcall_http_connections_refused_total";
const TWO: (&str, &str) = ("server.max_connections_per_address", "2");

async fn serves(mut wire: Wire) -> Wire {
    wire.send(GET).await;
    wire.answer().await.expect_json(200);
    wire
}

#[tokio::test]
async fn one_connection_more_than_a_network_may_have_is_closed_at_once() {
    let app = TestApp::with(&[TWO]).await;
    let admin = app.admin();
    let _first = serves(Wire::open(app.addr).await).await;
    let second = serves(Wire::open(app.addr).await).await;
    for _ in 0..3 {
        assert_eq!(Wire::open(app.addr).await.closed().await, b"");
    }
    assert_eq!(sample(&admin, REFUSED).await, 3);
    assert_eq!(sample(&admin, "rollcall_http_connections").await, 2);
    drop(second);
    until("a free place", async || sample(&admin, "rollcall_http_connections").await == 1).await;
    let third = serves(Wire::open(app.addr).await).await;
    serves(third).await;
}

#[tokio::test]
async fn another_network_has_places_of_its_own() {
    let app = TestApp::with(&[TWO]).await;
    let _held = [serves(Wire::open(app.addr).await).await, serves(Wire::open(app.addr).await).await];
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    serves(Wire::over(socket.connect(app.addr).await.unwrap())).await;
}

#[tokio::test]
async fn handshakes_count_as_connections() {
    let authority = Authority::new();
    let files = Files::of(&authority.sign());
    let app = TestApp::with(&[&files.overrides()[..], &[TWO]].concat()).await;
    let _shaking = Wire::open(app.addr).await;
    let _second = serves(Wire::over(try_connect(app.addr, authority.client(&["http/1.1"])).await.unwrap())).await;
    assert!(try_connect(app.addr, authority.client(&[])).await.is_err());
    assert_eq!(sample(&app.admin(), REFUSED).await, 1);
}

#[tokio::test]
async fn without_limits_a_network_may_have_any_number() {
    let app = TestApp::with(&[TWO, ("limits.enabled", "false")]).await;
    let mut wires = Vec::new();
    for _ in 0..5 {
        wires.push(serves(Wire::open(app.addr).await).await);
    }
    assert_eq!(sample(&app.admin(), REFUSED).await, 0);
}
