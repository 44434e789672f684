//! The key ring: which key a token is checked with, and which one signs.
//!
//! A token's header chooses a key only by its `kid`; the key alone decides the algorithm.

use std::sync::Arc;

use jsonwebtoken::errors::Error;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;

use super::handle::TokenError;
use super::header::{self, Chosen};
use super::types::Principal;
use super::verified::Verified;
use crate::crypto::encryption::EncryptionKeys;
use crate::features::tokens::claims::Claims;
use crate::features::tokens::signing_key::{self, State, StoredKey, signer};
use crate::features::tokens::store::Snapshot;

/// Longest token that is verified: many times what this service or the Python one issues.
const TOKEN_MAX_BYTES: usize = 8 * 1024;

/// A key that signs and verifies, or only verifies.
pub(super) struct Key {
    header: Header,
    /// The algorithm, as headers name it.
    alg: &'static str,
    /// Encoded headers of tokens that this key signed, which need not be parsed.
    familiar: Vec<String>,
    /// `None` where it only verifies.
    signing: Option<EncodingKey>,
    verifying: DecodingKey,
    validation: Validation,
    /// Its row; `None` for the secret.
    stored: Option<StoredKey>,
}

impl Key {
    /// HS256 with the configured secret, as the Python service has it.
    pub(super) fn of_secret(secret: &SecretString) -> Self {
        let secret = secret.expose_secret().as_bytes();
        let header = Header::new(Algorithm::HS256);
        // Ours, then the Python service's.
        let familiar = vec![r#"{"typ":"JWT","alg":"HS256"}"#, r#"{"alg":"HS256","typ":"JWT"}"#];
        Self {
            familiar: familiar.into_iter().map(header::encode).collect(),
            signing: Some(EncodingKey::from_secret(secret)),
            verifying: DecodingKey::from_secret(secret),
            validation: validation(Algorithm::HS256),
            header,
            alg: "HS256",
            stored: None,
        }
    }

    /// A key of the table. Without a readable private part it still verifies.
    fn of_stored(stored: &StoredKey, encryption: Option<&EncryptionKeys>) -> Result<Self, Error> {
        let private = encryption.and_then(|encryption| stored.open(encryption).ok());
        let (algorithm, verifying, signing): (_, _, fn(&[u8]) -> EncodingKey) = match stored.algorithm {
            signing_key::Algorithm::EdDsa => {
                (Algorithm::EdDSA, DecodingKey::from_ed_components(&stored.jwk.x)?, EncodingKey::from_ed_der)
            }
            signing_key::Algorithm::Es256 => {
                let y = stored.jwk.y.as_deref().unwrap_or_default();
                (Algorithm::ES256, DecodingKey::from_ec_components(&stored.jwk.x, y)?, EncodingKey::from_ec_der)
            }
        };
        let mut header = Header::new(algorithm);
        header.kid = Some(stored.kid().to_owned());
        Ok(Self {
            familiar: vec![header::encode(&serde_json::to_string(&header)?)],
            header,
            alg: stored.algorithm.name(),
            signing: private.map(|private| signing(&private)),
            verifying,
            validation: validation(algorithm),
            stored: Some(stored.clone()),
        })
    }

    /// Its name; the secret has none.
    pub(super) fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// Whether it may sign, but has no readable private part.
    fn is_unreadable(&self, now: OffsetDateTime) -> bool {
        self.signing.is_none() && self.stored.as_ref().is_some_and(|stored| stored.may_sign(now))
    }
}

/// Fixes the algorithm, so that a token can't choose its own; and grants no leeway, which would be 60 s by default.
fn validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = 0;
    validation.validate_nbf = true;
    validation
}

/// The keys of one instant.
pub(super) struct Ring {
    keys: Vec<Arc<Key>>,
    signer: Option<Arc<Key>>,
    unreadable: Vec<String>,
    /// Tokens verified by this ring. They are dropped with it, because their keys may be gone.
    verified: Verified,
}

impl Ring {
    /// The secret alone.
    pub(super) fn of_secret(secret: &SecretString) -> Self {
        let key = Arc::new(Key::of_secret(secret));
        Self { keys: vec![Arc::clone(&key)], signer: Some(key), unreadable: Vec::new(), verified: Verified::default() }
    }

    /// The ring at `now`. Keys of `previous` are reused.
    pub(super) fn new(
        secret: Option<&Arc<Key>>,
        snapshot: &Snapshot,
        encryption: Option<&EncryptionKeys>,
        now: OffsetDateTime,
        previous: Option<&Self>,
    ) -> Self {
        let known = |stored: &StoredKey| {
            let mut keys = previous.into_iter().flat_map(|ring| &ring.keys);
            keys.find(|key| key.stored.as_ref() == Some(stored)).map(Arc::clone)
        };
        let alive = snapshot.keys.iter().filter(|stored| stored.state(now) != State::Expired);
        let made = alive.filter_map(|stored| {
            let made = || Key::of_stored(stored, encryption).map(Arc::new);
            known(stored)
                .map_or_else(made, Ok)
                .inspect_err(|error| {
                    tracing::error!(kid = stored.kid(), %error, "a signing key cannot be used");
                })
                .ok()
        });
        let made: Vec<_> = made.collect();
        let able = made.iter().filter(|key| key.signing.is_some());
        let able = able.filter_map(|key| Some((key.stored.as_ref()?, Arc::clone(key))));
        let signer = signer(able, now, secret.is_none()).or_else(|| secret.map(Arc::clone));
        let unreadable = made.iter().filter(|key| key.is_unreadable(now)).filter_map(|key| key.kid());
        let unreadable = unreadable.map(str::to_owned).collect();
        let keys = secret.into_iter().map(Arc::clone).chain(made).collect();
        Self { keys, signer, unreadable, verified: Verified::default() }
    }

    /// Whether both consist of the same keys.
    pub(super) fn is(&self, other: &Self) -> bool {
        let same = |one: &Arc<Key>, other: &Arc<Key>| Arc::ptr_eq(one, other);
        let signers = match (&self.signer, &other.signer) {
            (Some(one), Some(other)) => same(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        signers
            && self.unreadable == other.unreadable
            && self.keys.len() == other.keys.len()
            && self.keys.iter().zip(&other.keys).all(|(one, other)| same(one, other))
    }

    /// Signs with the current key.
    pub(super) fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        let key = self.signer.as_ref().ok_or(TokenError::NoKey)?;
        let signing = key.signing.as_ref().ok_or(TokenError::NoKey)?;
        encode(&key.header, claims, signing).map_err(|_| TokenError::Unsigned)
    }

    /// The principal of a token, verified as by [`Self::verify`].
    pub(super) fn principal(&self, token: &str) -> Result<Principal, TokenError> {
        match self.verified.find(token) {
            Some(principal) => Ok(principal),
            None => self.verify(token).map(|claims| Principal::from(&claims)),
        }
    }

    /// Verifies a token with the key that its header names. One that was verified lately costs no signature check.
    pub(super) fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_MAX_BYTES {
            return Err(TokenError::Invalid);
        }
        self.verified.find_or(token, || {
            let (header, _) = token.split_once('.').ok_or(TokenError::Invalid)?;
            let key = self.key(header).ok_or(TokenError::Invalid)?;
            let decoded = decode::<Claims>(token, &key.verifying, &key.validation);
            decoded.map(|data| data.claims).map_err(|_| TokenError::Invalid)
        })
    }

    fn key(&self, header: &str) -> Option<&Key> {
        let familiar = self.keys.iter().find(|key| key.familiar.iter().any(|familiar| familiar == header));
        if let Some(key) = familiar {
            return Some(key);
        }
        let Chosen { alg, kid } = header::read(header)?;
        let named = self.keys.iter().find(|key| key.kid() == kid.as_deref())?;
        (named.alg == alg).then_some(named)
    }

    /// The key that signs.
    pub(super) fn signer(&self) -> Option<&Key> {
        self.signer.as_deref()
    }

    /// The rows whose keys are in the ring.
    pub(super) fn stored(&self) -> impl Iterator<Item = &StoredKey> {
        self.keys.iter().filter_map(|key| key.stored.as_ref())
    }

    /// Names of keys that may sign, but have no readable private part.
    pub(super) fn unreadable(&self) -> &[String] {
        &self.unreadable
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use uuid::Uuid;

    use super::*;
    use crate::crypto::encryption::EncryptionKey;
    use crate::features::tokens::signing_key::NewKey;

    const SECRET: &str = "a-secret-of-the-tests-that-is-long-enough";

    fn encryption() -> EncryptionKeys {
        EncryptionKeys { current: EncryptionKey::parse(&"07".repeat(32)).unwrap(), previous: None }
    }

    fn stored(now: OffsetDateTime) -> StoredKey {
        let algorithm = signing_key::Algorithm::EdDsa;
        let NewKey { algorithm, jwk, sealed } = NewKey::generate(algorithm, &encryption().current).unwrap();
        let (active_from, sealed) = (now + Duration::minutes(5), Some(sealed));
        StoredKey { algorithm, jwk, sealed, created_at: now, active_from, retired_at: None, expires_at: None }
    }

    fn claims() -> Claims {
        let exp = OffsetDateTime::now_utc().unix_timestamp() + 60;
        Claims { user_id: Uuid::nil(), email: "john.doe@example.com".to_owned(), iat: 0, exp }
    }

    #[test]
    fn a_ring_changes_with_its_rows_and_with_time_and_else_stays_the_same() {
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let now = OffsetDateTime::now_utc();
        let secret = Arc::new(Key::of_secret(&SecretString::from(SECRET)));
        let ring = |keys: &[StoredKey], now, previous| {
            let snapshot = Snapshot { keys: keys.to_vec(), unsound: Vec::new(), now };
            Ring::new(Some(&secret), &snapshot, Some(&encryption()), now, previous)
        };
        let keys = [stored(now)];
        let (empty, first) = (ring(&[], now, None), ring(&keys, now, None));
        assert!(!first.is(&empty) && first.is(&ring(&keys, now, Some(&first))));
        assert_eq!(first.signer().unwrap().kid(), None);
        let later = ring(&keys, now + Duration::minutes(5), Some(&first));
        assert!(!later.is(&first));
        assert_eq!(later.signer().unwrap().kid(), Some(keys[0].kid()));
        let token = later.sign(&claims()).unwrap();
        assert_eq!(first.verify(&token), Ok(claims()), "a published key verifies");
        assert_eq!(empty.verify(&token), Err(TokenError::Invalid));
        let of_secret = empty.sign(&claims()).unwrap();
        assert_eq!(later.verify(&of_secret), Ok(claims()));
    }

    #[test]
    fn a_key_that_cannot_be_read_verifies_and_is_listed() {
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let now = OffsetDateTime::now_utc();
        let key = StoredKey { active_from: now, ..stored(now) };
        let snapshot = Snapshot { keys: vec![key.clone()], unsound: Vec::new(), now };
        let blind = Ring::new(None, &snapshot, None, now, None);
        assert_eq!(blind.unreadable(), [key.kid()]);
        assert_eq!(blind.sign(&claims()), Err(TokenError::NoKey));
        let token = Ring::new(None, &snapshot, Some(&encryption()), now, None).sign(&claims()).unwrap();
        assert_eq!(blind.verify(&token), Ok(claims()));
    }
}
