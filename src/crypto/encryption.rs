//! Encryption of private keys at rest: AES-256-GCM under a key that is not in the database.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use thiserror::Error;
use zeroize::Zeroizing;

/// Bytes of the configured key: the key size of AES-256.
const KEY_BYTES: usize = 32;
/// Binds the derived key to this use, so that the configured key can serve other uses too.
const PURPOSE: &[u8] = b"rollcall signing keys, version 1";

/// The configured text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be {KEY_BYTES} bytes, as hex or base64; make one with `openssl rand -hex {KEY_BYTES}`")]
pub struct MalformedKey;

/// A private key that can't be read or encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncryptionError {
    /// It was encrypted under another key or for another owner, or has been changed.
    #[error("it was encrypted under another key, or has been changed")]
    Unreadable,
    /// The system has no randomness, or the cipher failed.
    #[error("it cannot be encrypted")]
    Failed,
}

/// Encrypts and decrypts private keys.
#[derive(Clone)]
pub struct EncryptionKey(Arc<LessSafeKey>);

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey(…)")
    }
}

impl EncryptionKey {
    /// Reads 32 bytes in hex or in any of the alphabets of base64, and derives the key from them.
    ///
    /// # Errors
    /// [`MalformedKey`].
    pub fn parse(text: &str) -> Result<Self, MalformedKey> {
        let text = text.trim();
        // A key in base64 is never one in hex: it has 43 digits, an odd number, or ends in `=`.
        let bytes = Zeroizing::new(hex::decode(text).ok().or_else(|| base64(text)).ok_or(MalformedKey)?);
        if bytes.len() != KEY_BYTES {
            return Err(MalformedKey);
        }
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&bytes);
        let derived = secret.expand(&[PURPOSE], &AES_256_GCM).map_err(|_| MalformedKey)?;
        Ok(Self(Arc::new(LessSafeKey::new(UnboundKey::from(derived)))))
    }

    /// Encrypts `plain` so that it opens for the same `owner` only: a random nonce, the ciphertext and its tag.
    ///
    /// # Errors
    /// [`EncryptionError::Failed`].
    pub fn seal(&self, owner: &[u8], plain: &[u8]) -> Result<Vec<u8>, EncryptionError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| EncryptionError::Failed)?;
        // Zeroized also where the cipher fails half-way.
        let mut text = Zeroizing::new(plain.to_vec());
        let tag = self.0.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(owner), &mut text);
        let tag = tag.map_err(|_| EncryptionError::Failed)?;
        Ok([nonce.as_slice(), &text, tag.as_ref()].concat())
    }

    /// Decrypts a ciphertext that [`EncryptionKey::seal`] made for the same `owner`.
    ///
    /// # Errors
    /// [`EncryptionError::Unreadable`].
    pub fn open(&self, owner: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, EncryptionError> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(EncryptionError::Unreadable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| EncryptionError::Unreadable)?;
        let mut text = Zeroizing::new(text.to_vec());
        let opened = self.0.open_in_place(nonce, Aad::from(owner), &mut text);
        let length = opened.map_err(|_| EncryptionError::Unreadable)?.len();
        text.truncate(length);
        Ok(text)
    }
}

/// The keys of private keys at rest: the current one and, while it is being changed, the previous one.
#[derive(Debug, Clone)]
pub struct EncryptionKeys {
    /// Encrypts and decrypts.
    pub current: EncryptionKey,
    /// Only decrypts.
    pub previous: Option<EncryptionKey>,
}

impl EncryptionKeys {
    /// The keys in the order in which to try them.
    pub fn each(&self) -> impl Iterator<Item = &EncryptionKey> {
        [&self.current].into_iter().chain(&self.previous)
    }
}

fn base64(text: &str) -> Option<Vec<u8>> {
    [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].iter().find_map(|alphabet| alphabet.decode(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "00112233445566778899aabbccddeefffffefdfcfbfaf9f8f7f6f5f4f3f2f1f0";

    #[test]
    fn a_key_is_32_bytes_however_they_are_written() {
        let sealed = EncryptionKey::parse(HEX).unwrap().seal(b"owner", b"private").unwrap();
        let bytes = hex::decode(HEX).unwrap();
        let texts = [
            HEX.to_uppercase(),
            format!(" {HEX}\n"),
            STANDARD.encode(&bytes),
            STANDARD_NO_PAD.encode(&bytes),
            URL_SAFE.encode(&bytes),
            URL_SAFE_NO_PAD.encode(&bytes),
        ];
        for text in texts {
            let opened = EncryptionKey::parse(&text).unwrap().open(b"owner", &sealed).unwrap();
            assert_eq!(opened.as_slice(), b"private", "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_key() {
        let short = STANDARD.encode([7; 31]);
        for text in ["", "secret", &HEX[1..], &HEX[2..], &format!("{HEX}00"), &HEX.replace('f', "g"), &short, "é"] {
            assert_eq!(EncryptionKey::parse(text).unwrap_err(), MalformedKey, "{text}");
        }
    }

    #[test]
    fn what_is_sealed_opens_for_its_owner_under_its_key_and_unchanged_only() {
        let key = EncryptionKey::parse(HEX).unwrap();
        let sealed = key.seal(b"owner", b"private").unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"private"));
        assert_ne!(sealed, key.seal(b"owner", b"private").unwrap(), "each time under another nonce");
        let other = EncryptionKey::parse(&HEX.replace("00", "01")).unwrap();
        assert_eq!(other.open(b"owner", &sealed), Err(EncryptionError::Unreadable));
        assert_eq!(key.open(b"another", &sealed), Err(EncryptionError::Unreadable));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(b"owner", &changed), Err(EncryptionError::Unreadable));
            assert_eq!(key.open(b"owner", &sealed[..at]), Err(EncryptionError::Unreadable));
        }
    }
}
