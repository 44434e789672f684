//! Tokens that were verified lately.
//!
//! Most tokens come again and again. A ring remembers those that it has verified; they cost no signature check and no
//! parsing. They are dropped with their ring.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use jsonwebtoken::get_current_timestamp;
use quick_cache::sync::Cache;

use super::claims::Claims;
use super::handle::TokenError;
use super::types::Principal;

/// Most tokens that are remembered; they take some 7 MB. Beyond it, the cache evicts those that are used least.
const TOKENS_MAX: usize = 16 * 1024;
/// How many bytes of a token are hashed.
const HASHED: usize = 32;

/// The claims of tokens that the keys of one ring have verified.
#[derive(Debug)]
pub(super) struct Verified {
    /// The hash has a random key, so that a client can't choose the tokens that its own is compared with.
    hashes: RandomState,
    /// By the tokens' hashes, not by the tokens: the cache compares keys byte by byte, and its time would tell how much of a
    /// guess is right.
    known: Cache<u64, Arc<Known>>,
}

struct Known {
    token: Box<str>,
    claims: Claims,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known(…)")
    }
}

impl Known {
    /// Its claims, if it is this token and has not expired. The comparison takes constant time. As in jsonwebtoken, the
    /// second of `exp` still counts.
    fn claims(&self, token: &str) -> Option<&Claims> {
        let is_same = verify_slices_are_equal(self.token.as_bytes(), token.as_bytes()).is_ok();
        let is_current = u64::try_from(self.claims.exp).is_ok_and(|exp| exp >= get_current_timestamp());
        (is_same && is_current).then_some(&self.claims)
    }
}

impl Default for Verified {
    fn default() -> Self {
        Self { hashes: RandomState::new(), known: Cache::new(TOKENS_MAX) }
    }
}

impl Verified {
    /// The principal of `token`, if it was verified lately and has not expired.
    pub(super) fn find(&self, token: &str) -> Option<Principal> {
        self.known.get(&self.hash(token))?.claims(token).map(Principal::from)
    }

    /// Hashes only the end, which is part of the signature: valid tokens differ there.
    fn hash(&self, token: &str) -> u64 {
        let bytes = token.as_bytes();
        self.hashes.hash_one(bytes.last_chunk::<HASHED>().map_or(bytes, |end| end))
    }

    /// The claims of `token`, which `check` verifies where they are not remembered.
    pub(super) fn find_or(
        &self,
        token: &str,
        check: impl FnOnce() -> Result<Claims, TokenError>,
    ) -> Result<Claims, TokenError> {
        let hash = self.hash(token);
        let known = self.known.get(&hash);
        if let Some(claims) = known.as_ref().and_then(|known| known.claims(token)) {
            return Ok(claims.clone());
        }
        let claims = check()?;
        self.known.insert(hash, Arc::new(Known { token: token.into(), claims: claims.clone() }));
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn claims(exp: i64) -> Claims {
        Claims { user_id: Uuid::nil(), email: "john.doe@example.com".to_owned(), iat: 0, exp }
    }

    fn refuse() -> Result<Claims, TokenError> {
        Err(TokenError::Invalid)
    }

    #[test]
    fn a_good_token_is_checked_once_and_a_bad_one_each_time() {
        let verified = Verified::default();
        assert_eq!(verified.find("good"), None);
        assert_eq!(verified.find_or("good", || Ok(claims(i64::MAX))), Ok(claims(i64::MAX)));
        assert_eq!(verified.find_or("good", refuse), Ok(claims(i64::MAX)));
        assert_eq!(verified.find("good"), Some(Principal { user: Uuid::nil() }));
        assert_eq!(verified.find_or("bad", refuse), Err(TokenError::Invalid));
        assert_eq!(verified.find("bad"), None);
        assert_eq!(verified.find_or("bad", || Ok(claims(i64::MAX))), Ok(claims(i64::MAX)));
    }

    #[test]
    fn a_checked_token_expires_all_the_same() {
        let verified = Verified::default();
        for exp in [1, -1] {
            assert_eq!(verified.find_or("old", || Ok(claims(exp))), Ok(claims(exp)));
            assert_eq!(verified.find("old"), None);
            assert_eq!(verified.find_or("old", refuse), Err(TokenError::Invalid));
        }
    }

    #[test]
    fn what_has_the_hash_of_another_token_is_not_taken_for_it() {
        let verified = Verified::default();
        let known = Known { token: "good".into(), claims: claims(i64::MAX) };
        let hash = verified.hash("bad");
        verified.known.insert(hash, Arc::new(known));
        assert_eq!(verified.find("bad"), None);
        assert_eq!(verified.find_or("bad", refuse), Err(TokenError::Invalid));
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_used_stays() {
        let verified = Verified::default();
        for token in 0..5 * TOKENS_MAX {
            verified.find_or(&token.to_string(), || Ok(claims(i64::MAX))).unwrap();
            verified.find_or("used", || if token == 0 { Ok(claims(i64::MAX)) } else { refuse() }).unwrap();
        }
        assert!(verified.known.len() <= TOKENS_MAX);
    }

    #[test]
    fn tokens_that_come_later_drive_out_those_that_come_no_more() {
        let verified = Verified::default();
        for token in 0..2 * TOKENS_MAX {
            verified.find_or(&token.to_string(), || Ok(claims(i64::MAX))).unwrap();
        }
        let later: Vec<_> = (0..TOKENS_MAX / 4).map(|token| format!("later {token}")).collect();
        for _ in 0..3 {
            for token in &later {
                verified.find_or(token, || Ok(claims(i64::MAX))).unwrap();
            }
        }
        assert!(later.iter().all(|token| verified.find(token).is_some()));
    }
}
