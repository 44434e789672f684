//! Display names.

use thiserror::Error;

/// Longest name in characters (Unicode scalar values): the width of the table's column.
pub const MAX_CHARS: usize = 100;

/// A name of 1 to [`MAX_CHARS`] characters without white space around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

/// Why a string is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing but white space.
    #[error("must not be empty")]
    Empty,
    /// Over [`MAX_CHARS`].
    #[error("must be at most {MAX_CHARS} characters long")]
    TooLong,
    /// A control character, NUL and line breaks among them.
    #[error("must not contain control characters")]
    Control,
}

impl Name {
    /// Trims white space off both ends and checks what is left.
    ///
    /// # Errors
    /// Every [`NameError`] that applies, in the order of the enum.
    pub fn parse(input: &str) -> Result<Self, Vec<NameError>> {
        let trimmed = input.trim();
        let rules = [
            (NameError::Empty, !trimmed.is_empty()),
            (NameError::TooLong, trimmed.chars().nth(MAX_CHARS).is_none()),
            (NameError::Control, !trimmed.chars().any(char::is_control)),
        ];
        let broken: Vec<_> = rules.into_iter().filter_map(|(error, holds)| (!holds).then_some(error)).collect();
        if broken.is_empty() { Ok(Self(trimmed.to_owned())) } else { Err(broken) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that the database holds already, as it stands there.
    #[must_use]
    pub fn from_stored(stored: String) -> Self {
        Self(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_a_name_is_dropped() {
        assert_eq!(Name::parse(" \u{a0}Ada Lovelace\t").map(|n| n.0), Ok("Ada Lovelace".into()));
    }

    #[test]
    fn length_counts_characters_not_bytes() {
        assert!(Name::parse(&"é".repeat(MAX_CHARS)).is_ok());
        assert_eq!(Name::parse(&"é".repeat(MAX_CHARS + 1)), Err(vec![NameError::TooLong]));
    }

    #[test]
    fn blank_names_and_control_characters_are_refused() {
        assert_eq!(Name::parse(" \u{2003} "), Err(vec![NameError::Empty]));
        for input in ["a\0b", "a\nb", "a\u{7f}b", "a\u{85}b"] {
            assert_eq!(Name::parse(input), Err(vec![NameError::Control]), "{input:?}");
        }
    }
}
