//! A certificate with its key, checked against each other and against the clock.

use std::io;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error as LibraryError, InconsistentKeys};
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::parse_x509_certificate;

use crate::domain::timestamp::rfc3339_millis;

/// Marks of a key with a password in PEM files, in PKCS#8 and in the older form.
const ENCRYPTED: [&[u8]; 2] = [b"ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];

/// A certificate that fits its key.
#[derive(Clone)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    /// Start of its validity.
    pub(super) not_before: OffsetDateTime,
    /// End of its validity.
    pub(super) not_after: OffsetDateTime,
}

/// What is wrong with a certificate or its key, and how to fix it. No message shows the content of a file.
#[derive(Debug, Error)]
pub(super) enum Flaw {
    /// The system does not give the file.
    #[error("cannot be read: {0}; give a PEM file that the service may read")]
    Unreadable(io::Error),
    /// Nothing in it.
    #[error("is empty; give a PEM file")]
    Empty,
    /// No certificate in it.
    #[error("holds no certificate; give its whole chain in PEM form, the service's own certificate first")]
    NoCertificate,
    /// Something in it that is no certificate.
    #[error("holds a certificate that is broken; give its whole chain in PEM form again")]
    BrokenCertificate,
    /// No key in it.
    #[error("holds no private key; give it in PEM form: PKCS#8, PKCS#1 or SEC1")]
    NoKey,
    /// A key that needs a password.
    #[error("holds a private key that is encrypted; decrypt it with `openssl pkey`")]
    EncryptedKey,
    /// Something in it that is no key.
    #[error(
        "holds a private key that is broken or of an unknown kind; give an ECDSA, Ed25519 or RSA key of 2048 bits or more"
    )]
    BrokenKey,
    /// Two that do not belong together.
    #[error("is not the key of the first certificate in server.tls_cert_file; give the two that belong together")]
    OtherKey,
    /// Too early.
    #[error("holds a certificate that is valid from {} on; correct the clock, or give one that is valid now", rfc3339_millis(*.0))]
    NotYetValid(OffsetDateTime),
    /// Too late.
    #[error("holds a certificate that expired at {}; renew it", rfc3339_millis(*.0))]
    Expired(OffsetDateTime),
}

impl Flaw {
    /// Whether the key is at fault, and not the certificate.
    pub(super) fn is_of_key(&self) -> bool {
        matches!(self, Self::NoKey | Self::EncryptedKey | Self::BrokenKey | Self::OtherKey)
    }
}

impl Certificate {
    /// Reads a chain and a key in PEM form.
    ///
    /// # Errors
    /// [`Flaw`]; the clock is not asked.
    pub(super) fn parse(chain: &[u8], key: &[u8]) -> Result<Self, Flaw> {
        if chain.iter().all(u8::is_ascii_whitespace) {
            return Err(Flaw::Empty);
        }
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(|_| Flaw::BrokenCertificate)?;
        let validities = chain.iter().map(validity).collect::<Result<Vec<_>, _>>()?;
        let (not_before, not_after) = validities.first().copied().ok_or(Flaw::NoCertificate)?;
        let key = parse_key(key)?;
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            LibraryError::InconsistentKeys(InconsistentKeys::KeyMismatch) => Flaw::OtherKey,
            LibraryError::InvalidCertificate(_) => Flaw::BrokenCertificate,
            _ => Flaw::BrokenKey,
        })?;
        Ok(Self { key: Arc::new(certified), not_before, not_after })
    }

    /// Checks that it is valid at `now`.
    ///
    /// # Errors
    /// [`Flaw::NotYetValid`], [`Flaw::Expired`].
    pub(super) fn check(&self, now: OffsetDateTime) -> Result<(), Flaw> {
        if now < self.not_before {
            return Err(Flaw::NotYetValid(self.not_before));
        }
        if now > self.not_after { Err(Flaw::Expired(self.not_after)) } else { Ok(()) }
    }

    /// Whether it has the same chain as `other`.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

/// The crypto of all TLS to clients.
pub(super) fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

fn validity(certificate: &CertificateDer<'_>) -> Result<(OffsetDateTime, OffsetDateTime), Flaw> {
    let (rest, parsed) = parse_x509_certificate(certificate).map_err(|_| Flaw::BrokenCertificate)?;
    let validity = parsed.validity();
    if !rest.is_empty() {
        return Err(Flaw::BrokenCertificate);
    }
    Ok((validity.not_before.to_datetime(), validity.not_after.to_datetime()))
}

fn parse_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Flaw> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(Flaw::NoKey);
    }
    if ENCRYPTED.iter().any(|words| text.windows(words.len()).any(|window| window == *words)) {
        return Err(Flaw::EncryptedKey);
    }
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound => Flaw::NoKey,
        _ => Flaw::BrokenKey,
    })
}
