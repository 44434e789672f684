//! Modular crypt format: `$2b$12$` and 22 characters of salt and 31 of digest, in bcrypt's own base 64.

use std::fmt::Write as _;

use subtle::ConstantTimeEq;
use thiserror::Error;

use super::{Digest, Salt};

/// bcrypt's alphabet; the common one begins with the letters.
const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const SALT_CHARS: usize = 22;
const DIGEST_CHARS: usize = 31;

/// A parsed hash. `$2a$`, `$2b$` and `$2y$` differ only in bugs that none of today's implementations has, and parse alike.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mcf {
    /// Binary logarithm of the rounds, 4 to 31.
    pub cost: u32,
    /// Salt.
    pub salt: Salt,
    digest: Digest,
}

/// Why a string is no bcrypt hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum McfError {
    /// Not `$2a$`, `$2b$` or `$2y$`.
    #[error("the hash is not of a known bcrypt version")]
    Version,
    /// Not two digits from 04 to 31 and a `$`.
    #[error("the hash has no valid cost")]
    Cost,
    /// Not 53 characters of bcrypt's alphabet.
    #[error("the hash has no valid salt and digest")]
    Body,
}

impl Mcf {
    /// The hash of these parts.
    #[must_use]
    pub fn new(cost: u32, salt: Salt, digest: Digest) -> Self {
        Self { cost, salt, digest }
    }

    /// Parses `text`. Bits that the last character of salt or digest has too many are ignored, as everywhere.
    ///
    /// # Errors
    /// [`McfError`] for the first part that is wrong.
    pub fn parse(text: &str) -> Result<Self, McfError> {
        let rest = ["$2b$", "$2a$", "$2y$"].iter().find_map(|version| text.strip_prefix(version));
        let (cost, body) = rest.ok_or(McfError::Version)?.split_once('$').ok_or(McfError::Cost)?;
        if cost.len() != 2 || !cost.bytes().all(|c| c.is_ascii_digit()) {
            return Err(McfError::Cost);
        }
        let cost = cost.parse().ok().filter(|cost| (4..=31).contains(cost)).ok_or(McfError::Cost)?;
        let body = body.as_bytes();
        if body.len() != SALT_CHARS + DIGEST_CHARS {
            return Err(McfError::Body);
        }
        let (salt, digest) = body.split_at(SALT_CHARS);
        Ok(Self { cost, salt: decode(salt).ok_or(McfError::Body)?, digest: decode(digest).ok_or(McfError::Body)? })
    }

    /// Whether `digest` is this hash's, in a time that does not tell where they differ.
    #[must_use]
    pub fn matches(&self, digest: &Digest) -> bool {
        self.digest.ct_eq(digest).into()
    }
}

impl std::fmt::Display for Mcf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "$2b${:02}$", self.cost)?;
        encode(&self.salt, f)?;
        encode(&self.digest, f)
    }
}

impl std::fmt::Debug for Mcf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mcf").field("cost", &self.cost).finish_non_exhaustive()
    }
}

/// Six bits a character, most significant first, until `N` bytes are full.
fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut out = bytes.iter_mut();
    let (mut bits, mut count) = (0_u32, 0);
    for c in text {
        let value = ALPHABET.iter().position(|a| a == c)?;
        bits = (bits << 6) | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            let [.., byte] = (bits >> count).to_be_bytes();
            *out.next()? = byte;
        }
    }
    out.next().is_none().then_some(bytes)
}

fn encode(bytes: &[u8], f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    let (mut bits, mut count) = (0_u32, 0);
    let put = |value: u32, f: &mut std::fmt::Formatter<'_>| {
        let c = usize::try_from(value & 63).ok().and_then(|at| ALPHABET.get(at)).copied().unwrap_or(b'.');
        f.write_char(char::from(c))
    };
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        count += 8;
        while count >= 6 {
            count -= 6;
            put(bits >> count, f)?;
        }
    }
    if count > 0 { put(bits << (6 - count), f) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    #[test]
    fn a_hash_is_written_as_it_was_read() {
        assert_eq!(Mcf::parse(TEXT).map(|hash| hash.to_string()).as_deref(), Ok(TEXT));
        for version in ["$2a$", "$2y$"] {
            assert_eq!(Mcf::parse(&TEXT.replace("$2b$", version)), Mcf::parse(TEXT));
        }
    }

    #[test]
    fn surplus_bits_are_ignored() {
        let salt_end = TEXT.replace("CC.E5", "CC/E5");
        assert_eq!(Mcf::parse(&salt_end), Mcf::parse(TEXT));
    }

    #[test]
    fn strings_out_of_form_are_refused() {
        for (text, error) in [
            ("", McfError::Version),
            ("plain text", McfError::Version),
            ("$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", McfError::Version),
            ("$2b$5$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", McfError::Cost),
            ("$2b$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", McfError::Cost),
            ("$2b$32$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", McfError::Cost),
            ("$2b$+5$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", McfError::Cost),
            ("$2b$05", McfError::Cost),
            ("$2b$05$CCCC", McfError::Body),
            ("$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe", McfError::Body),
            ("$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeWW", McfError::Body),
            ("$2b$05$CCCCCCCCCCCCCCCCCCCCC+E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", McfError::Body),
            ("$2b$05$CCCCCCCCCCCCCCCCCCCCCéE5YPO9kmyuRGyh0XouQYb4YMJKvyOe", McfError::Body),
        ] {
            assert_eq!(Mcf::parse(text), Err(error), "{text}");
        }
    }
}
