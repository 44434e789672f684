//! Certificates made on the spot, and clients of TLS.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::aws_lc_rs};
use time::{Duration, OffsetDateTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{scratch, soon};

/// The name in every certificate of the tests.
pub const HOST: &str = "localhost";

/// The authority of the service's certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub certificate: CertificateDer<'static>,
    pub pem: String,
}

/// A certificate and its key in PEM form.
#[derive(Clone)]
pub struct Signed {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        Self::named("an authority of the tests")
    }

    /// An authority with this name.
    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        let (certificate, pem) = (own.der().clone(), own.pem());
        Self { issuer: Issuer::new(params, key), certificate, pem }
    }

    /// A certificate that is valid now.
    pub fn sign(&self) -> Signed {
        self.sign_key(&KeyPair::generate().unwrap())
    }

    /// A certificate for this key.
    pub fn sign_key(&self, key: &KeyPair) -> Signed {
        let now = OffsetDateTime::now_utc();
        self.sign_for(key, &[HOST, "127.0.0.1"], now - Duration::hours(1), now + Duration::days(90))
    }

    /// A certificate only for the server of this name.
    #[allow(dead_code, reason = "for servers that clients know by a name")]
    pub fn vouch_for(&self, name: &str) -> Signed {
        let now = OffsetDateTime::now_utc();
        self.sign_for(&KeyPair::generate().unwrap(), &[name], now - Duration::hours(1), now + Duration::days(90))
    }

    /// A certificate that is valid for this time.
    pub fn sign_from_to(&self, from: OffsetDateTime, to: OffsetDateTime) -> Signed {
        self.sign_for(&KeyPair::generate().unwrap(), &[HOST, "127.0.0.1"], from, to)
    }

    fn sign_for(&self, key: &KeyPair, names: &[&str], from: OffsetDateTime, to: OffsetDateTime) -> Signed {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        (params.not_before, params.not_after) = (from, to);
        params.distinguished_name.push(DnType::CommonName, HOST);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        Signed { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// The configuration of a client that trusts this authority.
    pub fn client(&self, alpn: &[&str]) -> ClientConfig {
        self.client_of(&[&TLS13, &TLS12], alpn)
    }

    pub fn client_of(&self, versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> ClientConfig {
        client_trusting(&self.certificate, versions, alpn)
    }
}

/// A client that trusts one authority.
pub fn client_trusting(
    authority: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

impl Signed {
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()
    }
}

/// The certificate's two files of a service.
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Files {
    pub fn of(signed: &Signed) -> Self {
        let dir = scratch::dir();
        let files = Self { certificate: dir.join("certificate.pem"), key: dir.join("key.pem") };
        files.write(signed);
        files
    }

    pub fn write(&self, signed: &Signed) {
        fs::write(&self.certificate, &signed.certificate).unwrap();
        fs::write(&self.key, &signed.key).unwrap();
    }

    /// The configuration keys that name them.
    pub fn overrides(&self) -> [(&'static str, &str); 2] {
        [
            ("server.tls_cert_file", self.certificate.to_str().unwrap()),
            ("server.tls_key_file", self.key.to_str().unwrap()),
        ]
    }
}

/// A connection, or the handshake's error.
pub async fn try_connect(addr: SocketAddr, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let config = Arc::new(config);
    connect_again(addr, &config).await
}

/// The same with a client that remembers its sessions.
pub async fn connect_again(addr: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = soon("a connection", TcpStream::connect(addr)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(HOST).unwrap();
    soon("a handshake", TlsConnector::from(Arc::clone(config)).connect(name, stream)).await
}

/// The certificate that a connection was shown.
pub fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// The HTTP that a connection agreed on.
pub fn agreed(stream: &TlsStream<TcpStream>) -> Option<&[u8]> {
    stream.get_ref().1.alpn_protocol()
}
