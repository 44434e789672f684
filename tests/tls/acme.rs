//! Certificates from an authority, by each of the two challenges.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::pebble::Pebble;
use crate::harness::tls::{client_trusting, shown};
use crate::harness::{Home, Start, Wire, free_ports, until};

/// Both are in one certificate.
const NAMES: [&str; 2] = ["login.example.com", "accounts.example.com"];

fn serve(home: &Home, pebble: &Pebble, tls_port: u16) -> Start {
    home.serve()
        .env("ROLLCALL__SERVER__PORT", &tls_port.to_string())
        .env("ROLLCALL__SERVER__ACME_DOMAINS", &NAMES.join(", "))
        .env("ROLLCALL__SERVER__ACME_CONTACT", "operator@example.com")
        .env("ROLLCALL__SERVER__ACME_DIRECTORY_URL", &pebble.directory())
        .env("ROLLCALL__SERVER__ACME_CA_FILE", pebble.ca_file.to_str().unwrap())
        // Who waits for a certificate looks for it more often than any client does.
        .env("ROLLCALL__LIMITS__HANDSHAKE_PER_SECOND", "0")
}

async fn connect(
    addr: SocketAddr,
    name: &'static str,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    TlsConnector::from(Arc::clone(config)).connect(ServerName::try_from(name).unwrap(), stream).await
}

/// Waits for a certificate that a client of the authority trusts for every name; gives it.
async fn certified(addr: SocketAddr, root: &CertificateDer<'static>) -> CertificateDer<'static> {
    let config = Arc::new(client_trusting(root, &[&TLS13, &TLS12], &["http/1.1"]));
    until("a certificate", async || connect(addr, NAMES[0], &config).await.is_ok()).await;
    let mut certificates = Vec::new();
    for name in NAMES {
        let stream = connect(addr, name, &config).await.unwrap();
        certificates.push(shown(&stream));
        let mut wire = Wire::over(stream);
        wire.send(format!("GET / HTTP/1.1\r\nhost: {name}\r\n\r\n")).await;
        wire.answer().await.expect_json(200);
    }
    assert_eq!(certificates[0], certificates[1]);
    certificates.remove(0)
}

/// What is kept, each by the beginning of its name; nobody else may read it.
fn expect_kept(data: &Path) {
    let dir = data.join("acme");
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    let mut kinds = Vec::new();
    for entry in fs::read_dir(&dir).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        kinds.push(entry.file_name().to_str().unwrap().split('-').next().unwrap().to_owned());
    }
    kinds.sort();
    assert_eq!(kinds, ["account", "certificate"]);
}

#[tokio::test]
async fn by_a_handshake_on_its_own_port_and_kept_for_the_next_start() {
    let (home, [tls_port, plain_port]) = (Home::new(), free_ports());
    let pebble = Pebble::start(tls_port, plain_port).await;
    let root = pebble.root().await;
    let service = serve(&home, &pebble, tls_port).ready().await;
    let first = certified(service.addr, &root).await;
    until("what is kept", async || fs::read_dir(home.data().join("acme")).is_ok_and(|kept| kept.count() == 2)).await;
    expect_kept(&home.data());
    let exit = service.stop().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(!exit.stderr.contains("PRIVATE KEY"), "{exit:?}");
    // The next start needs no authority.
    let again = serve(&home, &pebble, tls_port);
    drop(pebble);
    let service = again.ready().await;
    assert_eq!(certified(service.addr, &root).await, first);
}

#[tokio::test]
async fn by_a_request_to_the_redirecting_listener() {
    let (home, [tls_port, plain_port]) = (Home::new(), free_ports());
    let pebble = Pebble::start(tls_port, plain_port).await;
    let root = pebble.root().await;
    let service = serve(&home, &pebble, tls_port)
        .env("ROLLCALL__SERVER__ACME_CHALLENGE", "http-01")
        .env("ROLLCALL__SERVER__REDIRECT_ADDR", &format!("127.0.0.1:{plain_port}"))
        .ready()
        .await;
    certified(service.addr, &root).await;
    expect_kept(&home.data());
}

#[tokio::test]
async fn renewed_before_it_expires() {
    let (home, [tls_port, plain_port]) = (Home::new(), free_ports());
    let pebble = Pebble::with_validity(tls_port, plain_port, 30).await;
    let root = pebble.root().await;
    let service = serve(&home, &pebble, tls_port).ready().await;
    let first = certified(service.addr, &root).await;
    let config = Arc::new(client_trusting(&root, &[&TLS13, &TLS12], &["http/1.1"]));
    // One connection at a look: of two, the one could still have the old certificate and the other the new one.
    until("another certificate", async || {
        connect(service.addr, NAMES[0], &config).await.is_ok_and(|stream| shown(&stream) != first)
    })
    .await;
    certified(service.addr, &root).await;
}
