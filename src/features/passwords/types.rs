//! Passwords: chosen ones, which must be strong enough, and offered ones, which need only be compared.

use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

/// Shortest password, in characters.
pub const MIN_CHARS: usize = 8;
/// Longest password, in bytes: bcrypt reads no further, so a longer one would be weaker than it looks.
pub const MAX_BYTES: usize = 72;

/// A password that may be hashed. Redacted in `Debug`, wiped when dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

/// A rule that a chosen password breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// Under [`MIN_CHARS`].
    #[error("must be at least {MIN_CHARS} characters long")]
    TooShort,
    /// Over [`MAX_BYTES`].
    #[error("must be at most {MAX_BYTES} bytes long")]
    TooLong,
    /// No upper-case letter.
    #[error("must contain an upper-case letter")]
    NoUppercase,
    /// No lower-case letter.
    #[error("must contain a lower-case letter")]
    NoLowercase,
    /// No digit.
    #[error("must contain a digit")]
    NoDigit,
    /// A NUL, where C implementations of bcrypt stop reading.
    #[error("must not contain a NUL character")]
    Nul,
}

impl Password {
    /// Checks a password that a new user chose. Letters of any script count; digits are 0 to 9, which every keyboard has.
    ///
    /// # Errors
    /// Every [`PasswordError`] that applies, in the order of the enum.
    pub fn choose(input: Zeroizing<String>) -> Result<Self, Vec<PasswordError>> {
        let rules = [
            (PasswordError::TooShort, input.chars().nth(MIN_CHARS - 1).is_some()),
            (PasswordError::TooLong, input.len() <= MAX_BYTES),
            (PasswordError::NoUppercase, input.chars().any(char::is_uppercase)),
            (PasswordError::NoLowercase, input.chars().any(char::is_lowercase)),
            (PasswordError::NoDigit, input.bytes().any(|b| b.is_ascii_digit())),
            (PasswordError::Nul, !input.contains('\0')),
        ];
        let broken: Vec<_> = rules.into_iter().filter_map(|(error, holds)| (!holds).then_some(error)).collect();
        if broken.is_empty() { Ok(Self(input)) } else { Err(broken) }
    }

    /// A password that is offered at a login. bcrypt compares its first 72 bytes, NULs among them, as the Python
    /// service does: accounts that it made with longer passwords can log in.
    #[must_use]
    pub fn offered(input: Zeroizing<String>) -> Self {
        Self(input)
    }

    /// The text, which is wiped when it is dropped.
    #[must_use]
    pub fn into_inner(self) -> Zeroizing<String> {
        self.0
    }

    /// The password's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(input: &str) -> Vec<PasswordError> {
        Password::choose(Zeroizing::new(input.to_owned())).err().unwrap_or_default()
    }

    #[test]
    fn letters_of_any_script_count() {
        assert_eq!(broken("ÄÖÜäöü12"), []);
        assert_eq!(broken("ΑΒΓαβγ12"), []);
    }

    #[test]
    fn every_broken_rule_is_told_at_once() {
        use PasswordError::{NoDigit, NoLowercase, NoUppercase, Nul, TooLong, TooShort};
        assert_eq!(broken(""), [TooShort, NoUppercase, NoLowercase, NoDigit]);
        assert_eq!(broken("\0bcdefgh"), [NoUppercase, NoDigit, Nul]);
        assert_eq!(broken(&"A".repeat(73)), [TooLong, NoLowercase, NoDigit]);
    }

    #[test]
    fn lengths_are_eight_characters_and_seventy_two_bytes() {
        assert_eq!(broken("Aa1bcde"), [PasswordError::TooShort]);
        assert_eq!(broken("Aa1bcdef"), []);
        assert_eq!(broken(&format!("Aa1{}", "x".repeat(69))), []);
        assert_eq!(broken(&format!("Aa1{}", "x".repeat(70))), [PasswordError::TooLong]);
    }

    #[test]
    fn debug_shows_no_password() {
        let password = Password::offered(Zeroizing::new("SecurePass123".into()));
        assert_eq!(format!("{password:?}"), "Password(…)");
    }
}
