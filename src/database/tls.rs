//! TLS to PostgreSQL: encrypted as the URL asks, and the server's certificate checked where the configuration asks.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use thiserror::Error;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{self, Tls};
use crate::crypto::authorities::{self, NoAuthorities};

/// Why there is no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file of authorities that holds none.
    #[error("database.ca_file {path} holds no certificate: {cause}; give a PEM file with the certificates of the server's authorities", path = .path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The system has no certificates of authorities.
    #[error(
        "the system trusts no certificate authority; set database.ca_file, or install the system's CA certificates"
    )]
    NoAuthorities,
    /// The library refuses.
    #[error("TLS to the database cannot be set up: {0}")]
    Library(#[from] rustls::Error),
}

/// The TLS connector for connections.
pub(super) fn connector(config: &config::Database) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let client = match config.tls {
        Tls::VerifyFull => builder.with_root_certificates(authorities(config)?),
        Tls::Url => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
    };
    Ok(MakeRustlsConnect::new(client.with_no_client_auth()))
}

fn authorities(config: &config::Database) -> Result<RootCertStore, TlsError> {
    let file = config.ca_file.as_deref();
    authorities::load(file).map_err(|error| match (error, file) {
        (NoAuthorities::File(cause), Some(path)) => TlsError::Authorities { path: path.to_owned(), cause },
        _ => TlsError::NoAuthorities,
    })
}

/// Accepts every certificate, as `sslmode=require` and `prefer` do everywhere: they protect from eavesdropping, not
/// from an impostor.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
