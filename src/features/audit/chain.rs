//! Security events and the chain of hashes that seals them.
//!
//! A sealed event's hash is SHA-256 over the hash before it (zeros before the first) and the event, encoded so that no two
//! events look alike:
//!
//! ```text
//! 1 byte    the encoding's version: 1
//! 8 bytes   sequence
//! 8 bytes   event_id
//! 8 bytes   happened_at, in microseconds since 2000-01-01T00:00:00Z
//! then kind, user_id (16 bytes), email, source and detail (as PostgreSQL prints it), each as
//!   1 byte    0: NULL, and nothing follows; 1: a value
//!   8 bytes   its length
//!           its bytes, texts in UTF-8
//! ```
//!
//! Integers are signed and big-endian. Another version would need a column of its own, which is NULL for this one.

pub mod pruning;
pub mod walk;

use std::fmt::{self, Write as _};
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use thiserror::Error;
use uuid::Uuid;

use crate::domain::invisible::is_invisible;
use crate::domain::moment::Moment;

/// The first byte of an encoded event.
const VERSION: u8 = 1;

/// Something that happened to an account or a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The row's number, in the order of writing.
    pub id: i64,
    /// When it was written.
    pub at: Moment,
    /// What happened: one of [`crate::features::event_kinds`].
    pub kind: String,
    /// The user that it is about.
    pub user_id: Option<Uuid>,
    /// The address, or its pseudonym.
    pub email: Option<String>,
    /// The client's network, or its pseudonym.
    pub source: Option<String>,
    /// More about it: JSON as PostgreSQL prints it.
    pub detail: String,
}

impl Event {
    /// The hash of this event at the place `sequence` of the chain, behind an event with the hash `previous`.
    #[must_use]
    pub fn hash(&self, previous: Hash, sequence: i64) -> Hash {
        let mut context = Context::new(&SHA256);
        context.update(&previous.0);
        context.update(&[VERSION]);
        for number in [sequence, self.id, self.at.0] {
            context.update(&number.to_be_bytes());
        }
        let user_id = self.user_id.as_ref().map(|id| id.as_bytes().as_slice());
        let text = |text: &'_ Option<String>| text.as_ref().map(|text| text.as_bytes().to_vec());
        let (email, source) = (text(&self.email), text(&self.source));
        let detail = self.detail.as_bytes();
        for field in [Some(self.kind.as_bytes()), user_id, email.as_deref(), source.as_deref(), Some(detail)] {
            let Some(value) = field else {
                context.update(&[0]);
                continue;
            };
            context.update(&[1]);
            context.update(&(value.len() as u64).to_be_bytes());
            context.update(value);
        }
        Hash::from_bytes(context.finish().as_ref()).unwrap_or(Hash::ZERO)
    }
}

/// An event in its place of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The event.
    pub event: Event,
    /// Its place, from 1.
    pub sequence: i64,
    /// Its stored hash; `None` where that is no hash.
    pub hash: Option<Hash>,
}

/// SHA-256 of an event and all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The hash before the first event.
    pub const ZERO: Self = Self([0; 32]);

    /// A stored hash; `None` unless it has 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// As it is stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// One end of the chain: an event's place and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The place, 0 before the first event.
    pub sequence: i64,
    /// The hash.
    pub hash: Hash,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.hash)
    }
}

/// A text that is no [`Head`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it must be SEQUENCE:HASH as `rollcall audit head` prints it: a number, a colon and 64 hexadecimal digits")]
pub struct NotAHead;

impl FromStr for Head {
    type Err = NotAHead;

    fn from_str(text: &str) -> Result<Self, NotAHead> {
        let (sequence, hash) = text.trim().split_once(':').ok_or(NotAHead)?;
        let sequence = sequence.parse().ok().filter(|sequence| *sequence >= 0).ok_or(NotAHead)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(hash, &mut bytes).map_err(|_| NotAHead)?;
        Ok(Self { sequence, hash: Hash(bytes) })
    }
}

/// `text` with escapes for characters that command a terminal or are invisible: control characters, and those that
/// change the direction of text. The text of a client then cannot disguise itself.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if c.is_control() || is_invisible(c) {
            // Writing to a String can't fail.
            let _ = write!(shown, "{}", c.escape_default());
        } else {
            shown.push(c);
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            id: 7,
            at: Moment(1_000_001),
            kind: "registered".into(),
            user_id: Some(Uuid::from_u128(0x550e_8400_e29b_41d4_a716_4466_5544_0000)),
            email: Some("john.doe@example.com".into()),
            source: None,
            detail: "{}".into(),
        }
    }

    #[test]
    fn the_encoding_is_that_of_version_1() {
        let hash = event().hash(Hash::ZERO, 1);
        // Computed by another program from the description above.
        assert_eq!(hash.to_string(), "c76c19938645e8f2e33c6cc723043aa002eb5add42b43f54a31aa82333f988e8");
        let next = Event { email: None, source: Some("192.0.2.1".into()), user_id: None, ..event() };
        assert_eq!(next.hash(hash, 2).to_string(), "5eb21cca3afa92c9ed7171805f01f3f8f37f53265504558d8fe2a8c2b87d17bd");
    }

    #[test]
    fn every_column_counts_and_so_does_where_one_ends() {
        let original = event().hash(Hash::ZERO, 1);
        let changed = [
            Event { id: 8, ..event() },
            Event { at: Moment(1_000_002), ..event() },
            Event { kind: "registere".into(), email: Some("djohn.doe@example.com".into()), ..event() },
            Event { user_id: None, ..event() },
            Event { email: None, ..event() },
            Event { email: None, source: Some("john.doe@example.com".into()), ..event() },
            Event { source: Some(String::new()), ..event() },
            Event { detail: "{ }".into(), ..event() },
        ];
        for event in changed {
            assert_ne!(event.hash(Hash::ZERO, 1), original, "{event:?}");
        }
        assert_ne!(event().hash(Hash::ZERO, 2), original);
        assert_ne!(event().hash(original, 1), original);
    }

    #[test]
    fn a_head_reads_as_it_is_printed_and_nothing_else_does() {
        let head = Head { sequence: 12, hash: event().hash(Hash::ZERO, 12) };
        assert_eq!(head.to_string().parse(), Ok(head));
        let hash = head.hash.to_string();
        for text in ["", "12", "12:", ":00", &format!("-1:{hash}"), &format!("x:{hash}"), &format!("12:{hash}0")] {
            assert_eq!(text.parse::<Head>(), Err(NotAHead), "{text}");
        }
        assert_eq!(format!("12:+1{}", &hash[2..]).parse::<Head>(), Err(NotAHead));
        assert_eq!(format!("12:é{}", &hash[2..]).parse::<Head>(), Err(NotAHead));
    }

    #[test]
    fn control_characters_are_spelt_out() {
        assert_eq!(printable("a\u{202e}b\u{200b}"), "a\\u{202e}b\\u{200b}");
        assert_eq!(printable("a\u{1b}[2Jb\u{9b}ü\n"), "a\\u{1b}[2Jb\\u{9b}ü\\n");
    }
}
