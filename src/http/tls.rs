//! TLS below HTTP: a handshake within its time, whose ALPN decides which HTTP is spoken, with a certificate that may change.
//!
//! TLS 1.2 and 1.3, with the cipher suites and the session resumption that rustls has by default. The certificate comes
//! from `files`, or from an authority by `acme`; `served` holds it for new connections.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::version::{TLS12, TLS13};
use thiserror::Error;
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::wire::Spoken;
use crate::config::https::{Files, Https, Source};
use acme::{AcmeError, Orders};
use files::{Pair, PairError};
use metrics::TlsMetrics;
use served::Served;

mod acme;
mod certificate;
mod files;
pub mod metrics;
mod served;

/// How ALPN names the two versions of HTTP (RFC 7301), the better one first, and the challenge of RFC 8737.
const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";
const CHALLENGE: &[u8] = b"acme-tls/1";

/// Why HTTPS can't be served.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The files of certificate and key.
    #[error(transparent)]
    Files(#[from] PairError),
    /// The ACME authority's client.
    #[error(transparent)]
    Acme(#[from] AcmeError),
    /// The library refuses.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] rustls::Error),
}

/// Why a connection did not come to speak HTTP.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// It took too long.
    TimedOut,
    /// The client speaks plain HTTP, and can be refused in it.
    PlainHttp(TcpStream),
    /// It was an authority's challenge, which ends here.
    Challenge,
    /// The client left without a byte, as port checks do.
    Left,
    /// It broke.
    Failed(io::Error),
}

/// Makes HTTPS connections of TCP connections.
#[derive(Debug)]
pub struct Tls {
    acceptor: Acceptor,
    patience: Duration,
    served: Arc<Served>,
    look: Arc<Notify>,
    metrics: Arc<TlsMetrics>,
}

/// Keeps a valid certificate in service: [`Upkeep::run`] goes on until it is dropped.
#[derive(Debug)]
pub struct Upkeep(Kept);

#[derive(Debug)]
enum Kept {
    Files { pair: Arc<Mutex<Pair>>, pause: Duration, served: Arc<Served>, look: Arc<Notify> },
    Acme(Box<Orders>),
}

impl Tls {
    /// Reads the certificate's files, or prepares ACME; `None` where HTTPS is not configured.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(config: &Https, data_dir: &Path, metrics: TlsMetrics) -> Result<Option<(Self, Upkeep)>, TlsError> {
        let Some(source) = &config.certificate else { return Ok(None) };
        let metrics = Arc::new(metrics);
        let (served, look) = (Arc::new(Served::new(Arc::clone(&metrics))), Arc::new(Notify::new()));
        let (kept, takes_challenges) = match source {
            Source::Files(files) => {
                let (pair, certificate) = Pair::open(files)?;
                served.put(certificate);
                let (served, look) = (Arc::clone(&served), Arc::clone(&look));
                (Kept::Files { pair: Arc::new(Mutex::new(pair)), pause: config.watch, served, look }, false)
            }
            Source::Acme(acme) => {
                let orders = Orders::open(acme, data_dir, Arc::clone(&served))?;
                (Kept::Acme(Box::new(orders)), true)
            }
        };
        let acceptor = Acceptor(TlsAcceptor::from(Arc::new(settings(Arc::clone(&served), takes_challenges)?)));
        let tls = Self { acceptor, patience: config.handshake_timeout, served, look, metrics };
        Ok(Some((tls, Upkeep(kept))))
    }

    /// Checks the certificate's files now.
    pub fn reload(&self) {
        self.look.notify_one();
    }

    pub(in crate::http) fn served(&self) -> Arc<Served> {
        Arc::clone(&self.served)
    }

    /// Encrypts a connection; returns it with the HTTP that was agreed on.
    pub(super) async fn handshake(&self, stream: TcpStream) -> Result<(TlsStream<TcpStream>, Spoken), HandshakeError> {
        let agreed = timeout(self.patience, self.agree(stream)).await.unwrap_or(Err(HandshakeError::TimedOut));
        let reason = match &agreed {
            Ok(_) | Err(HandshakeError::Challenge | HandshakeError::Left) => return agreed,
            Err(HandshakeError::TimedOut) => "timeout",
            Err(HandshakeError::PlainHttp(_)) => "plain_http",
            // The kind of rustls's own errors: it refused the handshake.
            Err(HandshakeError::Failed(error)) if error.kind() == io::ErrorKind::InvalidData => "refused",
            Err(HandshakeError::Failed(_)) => "broken",
        };
        self.metrics.handshake_failures.with_label_values(&[reason]).inc();
        agreed
    }

    async fn agree(&self, stream: TcpStream) -> Result<(TlsStream<TcpStream>, Spoken), HandshakeError> {
        let mut first = [0];
        if stream.peek(&mut first).await.map_err(HandshakeError::Failed)? == 0 {
            return Err(HandshakeError::Left);
        }
        // TLS begins with 22; a method with a letter.
        if first[0].is_ascii_alphabetic() {
            return Err(HandshakeError::PlainHttp(stream));
        }
        let stream = self.acceptor.0.accept(stream).await.map_err(HandshakeError::Failed)?;
        match stream.get_ref().1.alpn_protocol() {
            Some(CHALLENGE) => Err(HandshakeError::Challenge),
            Some(H2) => Ok((stream, Spoken::Http2)),
            // HTTP/2 over TLS is agreed on by ALPN or not at all (RFC 9113, section 3.2).
            _ => Ok((stream, Spoken::Http1)),
        }
    }
}

impl Upkeep {
    /// Watches the files, or orders from the authority.
    pub async fn run(self: Arc<Self>) {
        match &self.0 {
            Kept::Files { pair, pause, served, look } => Pair::watch(pair, *pause, served, look).await,
            Kept::Acme(orders) => orders.keep().await,
        }
    }
}

/// When the certificate in the files expires.
///
/// # Errors
/// [`TlsError::Files`].
pub fn check(files: &Files) -> Result<OffsetDateTime, TlsError> {
    Ok(Pair::open(files)?.1.not_after)
}

fn settings(served: Arc<Served>, takes_challenges: bool) -> Result<ServerConfig, rustls::Error> {
    let mut settings = ServerConfig::builder_with_provider(Arc::new(certificate::provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(served);
    // All suites are good, so the order hardly matters, but scanners check for it.
    settings.ignore_client_order = true;
    settings.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
    if takes_challenges {
        settings.alpn_protocols.push(CHALLENGE.to_vec());
    }
    Ok(settings)
}

struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor(…)")
    }
}
