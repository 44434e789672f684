//! Email addresses, as registration accepts them and the database stores them.

use std::fmt;

use thiserror::Error;

/// Longest address in bytes: RFC 5321 bounds a path at 256, two of which are its angle brackets.
pub const MAX_BYTES: usize = 254;

/// An address in lower case that the table's CHECK constraint accepts. Its `Debug` is redacted: addresses are not logged.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(String);

/// Why a string is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EmailError {
    /// Over [`MAX_BYTES`].
    #[error("must be at most {MAX_BYTES} bytes long")]
    TooLong,
    /// Not `local@domain` with the characters and dots in their places.
    #[error("must be a valid email address, such as name@example.com")]
    Malformed,
}

impl Email {
    /// Parses `input` and folds it to lower case; nothing is trimmed.
    ///
    /// Local part and domain are dot-atoms (RFC 5322, section 3.2.3) of the characters that the database's constraint
    /// `users_email_format` allows, and the domain ends in a label of two letters at least. The grammar is small enough to
    /// be written out: the email crates also cap the local part at 64 bytes, which the constraint does not.
    ///
    /// # Errors
    /// Every [`EmailError`] that applies, in the order of the enum.
    pub fn parse(input: &str) -> Result<Self, Vec<EmailError>> {
        let rules = [(EmailError::TooLong, input.len() <= MAX_BYTES), (EmailError::Malformed, is_address(input))];
        let broken: Vec<_> = rules.into_iter().filter_map(|(error, holds)| (!holds).then_some(error)).collect();
        if broken.is_empty() { Ok(Self(input.to_ascii_lowercase())) } else { Err(broken) }
    }

    /// The address, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An address that the database holds already, as it stands there.
    #[must_use]
    pub fn from_stored(stored: String) -> Self {
        Self(stored)
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let Some((host, top)) = domain.rsplit_once('.') else { return false };
    is_dot_atom(local, |c| c.is_ascii_alphanumeric() || b"_%+-".contains(&c))
        && is_dot_atom(host, |c| c.is_ascii_alphanumeric() || c == b'-')
        && top.len() >= 2
        && top.bytes().all(|c| c.is_ascii_alphabetic())
}

fn is_dot_atom(text: &str, is_atom_char: impl Fn(u8) -> bool) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(&is_atom_char))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_folded_to_lower_case() {
        assert_eq!(
            Email::parse("John.Doe+News@Example.COM").map(|e| e.as_str().to_owned()),
            Ok("john.doe+news@example.com".into())
        );
    }

    #[test]
    fn addresses_out_of_grammar_are_refused() {
        for input in [
            "",
            "@",
            "a",
            "a@",
            "@b.com",
            "a@b",
            "a@b.c",
            "a@b.c1",
            "a b@c.com",
            " a@b.com",
            "a@b.com ",
            "a@b.com\n",
            ".a@b.com",
            "a.@b.com",
            "a..b@c.com",
            "a@b..com",
            "a@.com",
            "a@@b.com",
            "a@b@c.com",
            "ä@b.com",
            "a@bü.com",
            "\"a\"@b.com",
            "a@[127.0.0.1]",
            "a\0@b.com",
            "a@b.com.",
            "a/b@c.com",
        ] {
            assert_eq!(Email::parse(input), Err(vec![EmailError::Malformed]), "{input:?}");
        }
    }

    #[test]
    fn length_is_bounded_at_254_bytes() {
        let of_length = |n: usize| format!("{}@example.com", "a".repeat(n - "@example.com".len()));
        assert!(Email::parse(&of_length(MAX_BYTES)).is_ok());
        assert_eq!(Email::parse(&of_length(MAX_BYTES + 1)), Err(vec![EmailError::TooLong]));
    }
}
