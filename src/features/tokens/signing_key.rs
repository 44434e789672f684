//! Keys that tokens are signed with, and the times of their lives.
//!
//! A key is published first, so that all verifiers know it before its first token; then it is active, and the newest
//! active key signs; once retired it only verifies, until its last token has expired.

mod pair;
mod private;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use crate::crypto::encryption::{EncryptionError, EncryptionKey};

/// The algorithm of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// As tokens and JWKs name it (RFC 7518, section 3.1; RFC 8037, section 3.1).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }
}

/// A name that is no algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be eddsa or es256")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        let named = |algorithm: &Self| algorithm.name().eq_ignore_ascii_case(name);
        [Self::EdDsa, Self::Es256].into_iter().find(named).ok_or(UnknownAlgorithm)
    }
}

/// A public key as others read it (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// `OKP` or `EC`.
    pub kty: String,
    /// `Ed25519` or `P-256`.
    pub crv: String,
    /// The key, or its point's first coordinate, in base64url.
    pub x: String,
    /// The point's second coordinate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// Its name: the thumbprint (RFC 7638), which no other key has.
    pub kid: String,
    /// The algorithm.
    pub alg: String,
    /// `sig`.
    #[serde(rename = "use")]
    pub usage: String,
}

/// An encrypted private key.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(…)")
    }
}

/// A new key, not stored yet.
#[derive(Debug)]
pub struct NewKey {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The public key.
    pub jwk: Jwk,
    /// The private key.
    pub sealed: Sealed,
}

impl NewKey {
    /// Makes a key, its private part encrypted under `encryption`.
    ///
    /// # Errors
    /// [`EncryptionError::Failed`] where the system has no randomness.
    pub fn generate(algorithm: Algorithm, encryption: &EncryptionKey) -> Result<Self, EncryptionError> {
        loop {
            let (jwk, private) = pair::generate(algorithm)?;
            // A name that begins with a dash would be an option on a command line.
            if !jwk.kid.starts_with('-') {
                let sealed = Sealed(encryption.seal(&owner(&jwk.kid, algorithm), &private)?);
                return Ok(Self { algorithm, jwk, sealed });
            }
        }
    }
}

/// A key in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The public key.
    pub jwk: Jwk,
    /// The private key, for as long as it may sign.
    pub sealed: Option<Sealed>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it begins to sign at the earliest.
    pub active_from: OffsetDateTime,
    /// When it stops signing.
    pub retired_at: Option<OffsetDateTime>,
    /// When its tokens begin to be refused.
    pub expires_at: Option<OffsetDateTime>,
}

/// The state of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It verifies, and does not sign yet.
    Published,
    /// It verifies; the newest active key signs.
    Active,
    /// It verifies until its last token has expired.
    Retired,
    /// It is not used any more.
    Expired,
}

impl State {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Expired => "expired",
        }
    }
}

impl StoredKey {
    /// Its name.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.jwk.kid
    }

    /// Its state at `now`.
    #[must_use]
    pub fn state(&self, now: OffsetDateTime) -> State {
        if self.expires_at.is_some_and(|at| at <= now) {
            State::Expired
        } else if self.retired_at.is_some_and(|at| at <= now) {
            State::Retired
        } else if self.active_from <= now {
            State::Active
        } else {
            State::Published
        }
    }

    /// Whether the public key fits the algorithm, and its name is its thumbprint.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        pair::is_sound(self.algorithm, &self.jwk)
    }

    /// Whether it signs at `now` or later, if its private part can be opened.
    #[must_use]
    pub fn may_sign(&self, now: OffsetDateTime) -> bool {
        self.sealed.is_some() && matches!(self.state(now), State::Published | State::Active)
    }
}

/// The associated data of an encrypted private key: its name and algorithm.
fn owner(kid: &str, algorithm: Algorithm) -> Vec<u8> {
    [kid, algorithm.name()].join("\0").into_bytes()
}

/// The newest active key, which signs at `now`, among `keys` that can sign. If there is `no_other` way to sign, a
/// published key may sign.
pub fn signer<'a, K>(
    keys: impl IntoIterator<Item = (&'a StoredKey, K)>,
    now: OffsetDateTime,
    no_other: bool,
) -> Option<K> {
    let rank = |key: &StoredKey| match key.state(now) {
        State::Active => Some((true, key.active_from, key.created_at)),
        State::Published if no_other => Some((false, key.active_from, key.created_at)),
        State::Published | State::Retired | State::Expired => None,
    };
    let ranked = keys.into_iter().filter_map(|(key, token)| Some((rank(key)?, token)));
    ranked.max_by(|(one, _), (other, _)| one.cmp(other)).map(|(_, token)| token)
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2025-10-15 12:00 UTC);

    fn encryption() -> EncryptionKey {
        EncryptionKey::parse(&"07".repeat(32)).unwrap()
    }

    /// A key that is active from so many hours after [`NOW`], and retired and expired so many hours after it.
    fn key(active_from: i64, retired_and_expired: Option<(i64, i64)>) -> StoredKey {
        let NewKey { algorithm, jwk, sealed } = NewKey::generate(Algorithm::EdDsa, &encryption()).unwrap();
        let hours = |hours| NOW + Duration::hours(hours);
        let (retired_at, expires_at) = retired_and_expired.map(|(r, e)| (hours(r), hours(e))).unzip();
        let (created_at, active_from) = (hours(-9), hours(active_from));
        StoredKey { algorithm, jwk, sealed: Some(sealed), created_at, active_from, retired_at, expires_at }
    }

    fn signs<'a>(keys: &'a [&StoredKey], no_other: bool) -> Option<&'a str> {
        signer(keys.iter().map(|key| (*key, key.kid())), NOW, no_other)
    }

    #[test]
    fn a_key_lives_from_its_publication_to_its_expiry() {
        for (key, state) in [
            (key(1, None), State::Published),
            (key(1, Some((2, 3))), State::Published),
            (key(0, None), State::Active),
            (key(-1, Some((1, 2))), State::Active),
            (key(-1, Some((0, 1))), State::Retired),
            (key(-2, Some((-1, 0))), State::Expired),
            (key(1, Some((-1, 0))), State::Expired),
        ] {
            assert_eq!(key.state(NOW), state, "{key:?}");
        }
    }

    #[test]
    fn the_newest_active_key_signs() {
        let (old, new, next) = (key(-2, None), key(-1, None), key(1, None));
        let retired = key(0, Some((0, 1)));
        assert_eq!(signs(&[&new, &old, &next, &retired], true), Some(new.kid()));
        assert_eq!(signs(&[&old, &retired], false), Some(old.kid()));
        assert_eq!(signs(&[&next, &retired], false), None);
        assert_eq!(signs(&[&next, &retired], true), Some(next.kid()));
        assert_eq!(signs(&[&retired], true), None);
    }

    #[test]
    fn names_of_keys_are_no_options() {
        for _ in 0..300 {
            assert!(!NewKey::generate(Algorithm::EdDsa, &encryption()).unwrap().jwk.kid.starts_with('-'));
        }
    }

    #[test]
    fn what_is_secret_is_not_shown() {
        let stored = key(0, None);
        let shown = format!("{stored:?} {:?}", encryption());
        assert!(shown.contains("Sealed(…)") && shown.contains("EncryptionKey(…)"), "{shown}");
    }
}
