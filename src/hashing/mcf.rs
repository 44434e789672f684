//! bcrypt's strings: `$2b$12$`, a salt of 22 characters, a digest of 31.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet::BCRYPT;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use subtle::ConstantTimeEq;

use crate::hashing::blowfish::{Digest, Salt};

/// bcrypt's own base64: its alphabet, no padding, and bits of the last character that mean nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(&BCRYPT, NO_PAD.with_decode_allow_trailing_bits(true));

/// The characters of a 16-byte salt: 132 bits, of which the last 4 mean nothing.
const SALT_CHARS: usize = 22;

/// Why a string is no bcrypt hash that this service can verify. The messages show no part of the string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum McfError {
    /// Not `$2v$cc$` and 53 more bytes.
    #[error("not the shape of a bcrypt hash")]
    Shape,
    /// Not `2a`, `2b` or `2y`. `2x` marks hashes of a program that misread bytes over 127: no other can verify them.
    #[error("not a version of bcrypt that can be verified")]
    Version,
    /// Not 04 to 31.
    #[error("a cost outside 4 to 31")]
    Cost,
    /// A character outside bcrypt's alphabet.
    #[error("a character outside bcrypt's base64")]
    Alphabet,
}

/// The version of a hash, which names the program that made it. All three are computed alike here, as by OpenBSD,
/// Python and the `bcrypt` crate. (Openwall's C, and so PHP, computes `2a` differently for some passwords with a byte
/// of 255, which UTF-8 never has.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `2a`: the oldest, and other services' usual one.
    A,
    /// `2b`: OpenBSD's current one, and this service's.
    B,
    /// `2y`: PHP's.
    Y,
}

impl Version {
    const fn letter(self) -> u8 {
        match self {
            Self::A => b'a',
            Self::B => b'b',
            Self::Y => b'y',
        }
    }
}

/// The binary logarithm of a hash's rounds, 4 to 31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(u8);

impl Cost {
    /// 4: the lowest that bcrypt defines.
    pub const LOWEST: Self = Self(4);
    /// 31: the highest.
    pub const HIGHEST: Self = Self(31);

    /// The cost of `log_rounds`.
    ///
    /// # Errors
    /// [`McfError::Cost`] outside 4 to 31, the range of every bcrypt.
    pub const fn new(log_rounds: u8) -> Result<Self, McfError> {
        match log_rounds {
            4..=31 => Ok(Self(log_rounds)),
            _ => Err(McfError::Cost),
        }
    }

    /// 4 to 31.
    #[must_use]
    pub const fn log_rounds(self) -> u8 {
        self.0
    }

    /// 2^4 to 2^31.
    #[must_use]
    pub const fn rounds(self) -> u64 {
        1 << self.0
    }
}

/// Whether a password is the one that a hash was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Match,
    /// It is not.
    Mismatch,
}

/// A stored hash, parsed. `Debug` leaves out salt and digest, and there is no `Display`: see [`Mcf::encode`]. There is
/// no `==` either, because its time would reveal how much of a digest is right: see [`Mcf::verify`].
#[derive(Clone)]
pub struct Mcf {
    /// The version.
    pub version: Version,
    /// How many rounds.
    pub cost: Cost,
    /// The salt.
    pub salt: Salt,
    digest: Digest,
}

impl Mcf {
    /// A new hash, under this service's version `2b`.
    #[must_use]
    pub const fn new(cost: Cost, salt: Salt, digest: Digest) -> Self {
        Self { version: Version::B, cost, salt, digest }
    }

    /// Compares in a time that does not depend on where the digests differ.
    #[must_use]
    pub fn verify(&self, digest: &Digest) -> Verdict {
        if self.digest.ct_eq(digest).into() { Verdict::Match } else { Verdict::Mismatch }
    }

    /// The 60 characters to store.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("$2{}${:02}$", char::from(self.version.letter()), self.cost.0);
        BASE64.encode_string(self.salt, &mut text);
        BASE64.encode_string(self.digest, &mut text);
        text
    }
}

impl FromStr for Mcf {
    type Err = McfError;

    /// Accepts any value of the 4 spare bits of a salt and the 2 of a digest, as C programs do, since some wrote them
    /// at random; [`Mcf::encode`] writes zeros. The `bcrypt` crate refuses such strings.
    fn from_str(text: &str) -> Result<Self, McfError> {
        let text: &[u8; 60] = text.as_bytes().try_into().map_err(|_| McfError::Shape)?;
        let [b'$', b'2', version, b'$', tens, units, b'$', rest @ ..] = text else {
            return Err(McfError::Shape);
        };
        let version = match version {
            b'a' => Version::A,
            b'b' => Version::B,
            b'y' => Version::Y,
            _ => return Err(McfError::Version),
        };
        let cost = match (tens, units) {
            (b'0'..=b'3', b'0'..=b'9') => Cost::new((tens - b'0') * 10 + (units - b'0'))?,
            _ => return Err(McfError::Cost),
        };
        let (salt, digest) = rest.split_at(SALT_CHARS);
        Ok(Self { version, cost, salt: decode(salt)?, digest: decode(digest)? })
    }
}

impl fmt::Debug for Mcf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mcf").field("version", &self.version).field("cost", &self.cost).finish_non_exhaustive()
    }
}

fn decode<const BYTES: usize>(text: &[u8]) -> Result<[u8; BYTES], McfError> {
    BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(McfError::Alphabet)
}
