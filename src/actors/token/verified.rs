//! Tokens whose signatures have been checked.
//!
//! An asymmetric signature takes some twenty times as long to check as an HMAC, and most tokens come again and again.

use std::collections::HashMap;
use std::mem;

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::get_current_timestamp;

use super::TokenError;
use crate::domain::claims::Claims;

/// Tokens of one generation at most; both together take some 3 MB.
const GENERATION_MAX: usize = 8 * 1024;

type Digest = [u8; 32];

/// The claims of tokens by the tokens' digests, as they were found with the keys of one ring. What was not asked for while a
/// generation filled up is forgotten.
#[derive(Default)]
pub(super) struct Verified {
    young: HashMap<Digest, Claims>,
    old: HashMap<Digest, Claims>,
}

impl Verified {
    /// The claims of `token`, which `check` has to find good if nobody asked before. Its time may have run out since.
    pub(super) fn find_or(
        &mut self,
        token: &str,
        check: impl FnOnce() -> Result<Claims, TokenError>,
    ) -> Result<Claims, TokenError> {
        let Ok(key) = Digest::try_from(digest(&SHA256, token.as_bytes()).as_ref()) else { return check() };
        if let Some(claims) = self.young.get(&key) {
            return if is_current(claims) { Ok(claims.clone()) } else { Err(TokenError::Invalid) };
        }
        let claims = match self.old.remove(&key) {
            Some(claims) if is_current(&claims) => claims,
            _ => check()?,
        };
        if self.young.len() >= GENERATION_MAX {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, claims.clone());
        Ok(claims)
    }
}

/// As jsonwebtoken has it: the second of `exp` still counts.
fn is_current(claims: &Claims) -> bool {
    u64::try_from(claims.exp).is_ok_and(|exp| exp >= get_current_timestamp())
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
        let mut verified = Verified::default();
        assert_eq!(verified.find_or("good", || Ok(claims(i64::MAX))), Ok(claims(i64::MAX)));
        assert_eq!(verified.find_or("good", refuse), Ok(claims(i64::MAX)));
        assert_eq!(verified.find_or("bad", refuse), Err(TokenError::Invalid));
        assert_eq!(verified.find_or("bad", || Ok(claims(i64::MAX))), Ok(claims(i64::MAX)));
    }

    #[test]
    fn a_checked_token_expires_all_the_same() {
        let mut verified = Verified::default();
        assert_eq!(verified.find_or("old", || Ok(claims(1))), Ok(claims(1)));
        assert_eq!(verified.find_or("old", || Ok(claims(1))), Err(TokenError::Invalid));
        assert_eq!(verified.find_or("older", || Ok(claims(-1))), Ok(claims(-1)));
        assert_eq!(verified.find_or("older", || Ok(claims(-1))), Err(TokenError::Invalid));
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_unused_goes_first() {
        let mut verified = Verified::default();
        for token in 0..5 * GENERATION_MAX {
            verified.find_or(&token.to_string(), || Ok(claims(i64::MAX))).unwrap();
            verified.find_or("used", || if token == 0 { Ok(claims(i64::MAX)) } else { refuse() }).unwrap();
        }
        assert!(verified.young.len() + verified.old.len() <= 2 * GENERATION_MAX);
        assert_eq!(verified.find_or("0", refuse), Err(TokenError::Invalid));
    }
}
