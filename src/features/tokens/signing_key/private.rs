//! The private part of a stored key: opened to sign with it, and encrypted again when the encryption key changes.

use zeroize::Zeroizing;

use super::{Sealed, StoredKey, owner, pair};
use crate::crypto::encryption::{EncryptionError, EncryptionKey, EncryptionKeys};

impl StoredKey {
    /// The private key as PKCS #8, opened with either of `keys`.
    ///
    /// # Errors
    /// [`EncryptionError::Unreadable`]: none of them does.
    pub fn open(&self, keys: &EncryptionKeys) -> Result<Zeroizing<Vec<u8>>, EncryptionError> {
        keys.each().find_map(|key| self.open_with(key).ok()).ok_or(EncryptionError::Unreadable)
    }

    /// The private key as PKCS #8.
    ///
    /// # Errors
    /// [`EncryptionError::Unreadable`]: there is none any more, it was encrypted under another key, or is another's.
    pub fn open_with(&self, key: &EncryptionKey) -> Result<Zeroizing<Vec<u8>>, EncryptionError> {
        let Some(Sealed(sealed)) = &self.sealed else { return Err(EncryptionError::Unreadable) };
        let private = key.open(&owner(self.kid(), self.algorithm), sealed)?;
        let public = pair::public(self.algorithm, &private).ok_or(EncryptionError::Unreadable)?;
        if public == self.jwk { Ok(private) } else { Err(EncryptionError::Unreadable) }
    }

    /// The private key encrypted under the current one of `keys`; `None` where it is already.
    ///
    /// # Errors
    /// [`EncryptionError`]: none of them opens it, or the system has no randomness.
    pub fn reseal(&self, keys: &EncryptionKeys) -> Result<Option<Sealed>, EncryptionError> {
        if self.open_with(&keys.current).is_ok() {
            return Ok(None);
        }
        let private = self.open(keys)?;
        keys.current.seal(&owner(self.kid(), self.algorithm), &private).map(|sealed| Some(Sealed(sealed)))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::{Algorithm, NewKey};
    use super::*;

    fn encryption(byte: &str) -> EncryptionKey {
        EncryptionKey::parse(&byte.repeat(32)).unwrap()
    }

    fn stored() -> StoredKey {
        let NewKey { algorithm, jwk, sealed } = NewKey::generate(Algorithm::EdDsa, &encryption("07")).unwrap();
        let (created_at, active_from, sealed) = (NOW, NOW, Some(sealed));
        StoredKey { algorithm, jwk, sealed, created_at, active_from, retired_at: None, expires_at: None }
    }

    const NOW: time::OffsetDateTime = datetime!(2025-10-15 12:00 UTC);

    #[test]
    fn a_private_key_opens_for_its_own_row_only() {
        let (one, other, key) = (stored(), stored(), encryption("07"));
        let opened = one.open_with(&key).unwrap();
        assert_eq!(pair::public(one.algorithm, &opened).as_ref(), Some(&one.jwk));
        for stored in [
            StoredKey { sealed: other.sealed.clone(), ..one.clone() },
            StoredKey { jwk: other.jwk.clone(), ..one.clone() },
            StoredKey { algorithm: Algorithm::Es256, ..one.clone() },
            StoredKey { sealed: None, ..one.clone() },
            StoredKey { sealed: Some(Sealed(Vec::new())), ..one.clone() },
        ] {
            assert_eq!(stored.open_with(&key).unwrap_err(), EncryptionError::Unreadable);
        }
    }

    #[test]
    fn the_previous_key_opens_what_the_current_one_does_not_until_it_is_sealed_anew() {
        let stored = stored();
        let keys = |current, previous: Option<_>| EncryptionKeys { current, previous };
        let both = keys(encryption("08"), Some(encryption("07")));
        let alone = keys(encryption("08"), None);
        assert_eq!(stored.open(&alone).unwrap_err(), EncryptionError::Unreadable);
        assert_eq!(stored.reseal(&alone).unwrap_err(), EncryptionError::Unreadable);
        let private = stored.open(&both).unwrap();
        let sealed = stored.reseal(&both).unwrap();
        assert!(sealed.is_some());
        let anew = StoredKey { sealed, ..stored.clone() };
        assert_eq!(anew.open(&alone).unwrap(), private);
        assert_eq!(anew.reseal(&both), Ok(None));
        assert_eq!(stored.reseal(&keys(encryption("07"), Some(encryption("08")))), Ok(None), "it is current there");
    }
}
