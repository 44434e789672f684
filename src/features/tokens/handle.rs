//! Signs and verifies tokens, for others.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::crypto;
use secrecy::SecretString;
use thiserror::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use super::claims::Claims;
use super::ring::Ring;
use super::signing_key::Jwk;
use super::store::{KeyStoreError, Snapshot};
use super::types::Principal;
use crate::actors::{Cell, Current};

pub use super::keyring::{Keyring, KeyringError};
pub use super::metrics::KeyMetrics;

/// A JWKS may be cached for one in so many parts of the time that a key is published before it signs.
const PUBLISHED_PART: u32 = 2;

/// Signs and verifies tokens.
#[derive(Debug, Clone)]
pub struct TokenHandle {
    pub(super) actor: Current<Msg>,
    pub(super) keyring: Arc<Keyring>,
}

/// The public keys that tokens may be checked with, for others.
#[derive(Debug)]
pub struct PublicKeys {
    /// The keys; a shared secret is not among them.
    pub keys: Vec<Jwk>,
    /// How long they may be cached: no key that is missing here signs before that.
    pub max_age: Duration,
}

/// Why there is no token, or no user in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Malformed, of another key or algorithm, expired, or without the claims.
    #[error("the token is invalid or has expired")]
    Invalid,
    /// The claims could not be signed.
    #[error("the token could not be signed")]
    Unsigned,
    /// There is no key to sign with.
    #[error("there is no key to sign with")]
    NoKey,
}

impl TokenHandle {
    /// Issues a token for the user of this id and address at `now`. Computes on the caller's thread, some 20 µs with `EdDSA`.
    ///
    /// # Errors
    /// [`TokenError::Unsigned`], [`TokenError::NoKey`].
    pub fn sign(&self, user_id: Uuid, email: &str, now: OffsetDateTime) -> Result<String, TokenError> {
        self.keyring.ring().sign(&Claims::issue(user_id, email, now, self.keyring.ttl))
    }

    /// Verifies a token that a key of the ring signed, here, on another replica or in the Python service, and returns
    /// its principal. Computes on the caller's thread, some 30 µs with `EdDSA` for a token that was not verified
    /// lately.
    ///
    /// # Errors
    /// [`TokenError::Invalid`].
    pub fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        self.keyring.ring().principal(token)
    }

    /// The public keys that tokens may be checked with.
    #[must_use]
    pub fn public_keys(&self) -> PublicKeys {
        PublicKeys { keys: self.keyring.jwks(), max_age: self.keyring.publish / PUBLISHED_PART }
    }

    /// The actor itself, for supervision from outside.
    #[must_use]
    pub fn cell(&self) -> Option<Cell> {
        self.actor.cell()
    }
}

/// Verifies a token with `secret` alone, and returns its claims.
///
/// # Errors
/// [`TokenError::Invalid`].
pub fn verify_with(secret: &SecretString, token: &str) -> Result<Claims, TokenError> {
    install_crypto();
    Ring::of_secret(secret).verify(token)
}

/// Chooses a crypto provider: jsonwebtoken would panic at its first use, as two are in the tree. The first installation
/// stands.
pub(super) fn install_crypto() {
    let _ = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

pub(super) enum Msg {
    /// It is time to read the table of keys.
    Read,
    /// The table was read, or could not be.
    Renew(Result<Snapshot, KeyStoreError>),
}
