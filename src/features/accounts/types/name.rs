//! Display names.

use thiserror::Error;

use crate::domain::invisible::{is_directive, is_invisible};

/// Longest name in characters (Unicode scalar values): the width of the table's column.
pub const MAX_CHARS: usize = 100;

/// A name of 1 to [`MAX_CHARS`] characters without white space around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

/// Why a string is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// Only white space and invisible characters.
    #[error("must not be empty")]
    Empty,
    /// Over [`MAX_CHARS`].
    #[error("must be at most {MAX_CHARS} characters long")]
    TooLong,
    /// A control character, NUL and line breaks among them, or one that changes the direction of text.
    #[error("must not contain control characters")]
    Control,
}

fn is_visible(c: char) -> bool {
    !c.is_whitespace() && !is_invisible(c)
}

impl Name {
    /// Trims white space off both ends and checks what is left.
    ///
    /// # Errors
    /// Every [`NameError`] that applies, in the order of the enum.
    pub fn parse(input: &str) -> Result<Self, Vec<NameError>> {
        let trimmed = input.trim();
        let rules = [
            (NameError::Empty, trimmed.chars().any(is_visible)),
            (NameError::TooLong, trimmed.chars().nth(MAX_CHARS).is_none()),
            (NameError::Control, !trimmed.chars().any(|c| c.is_control() || is_directive(c))),
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
    fn names_that_nobody_can_see_are_empty() {
        for name in ["\u{200b}", "\u{2060}\u{2060}", "\u{3164}", "\u{2800}", "\u{ad}", " \u{200d} ", "\u{1bca0}"] {
            assert_eq!(Name::parse(name), Err(vec![NameError::Empty]), "{name:?}");
        }
    }

    #[test]
    fn names_that_turn_the_text_around_them_are_refused() {
        for name in ["Ann\u{202e}nnA", "Ann\u{2028}Lee", "\u{2066}Ann\u{2069}"] {
            assert_eq!(Name::parse(name), Err(vec![NameError::Control]), "{name:?}");
        }
    }

    #[test]
    fn joiners_within_a_name_are_part_of_it() {
        // Persian, Hindi, and a family.
        for name in ["می\u{200c}خواهم", "क्\u{200d}ष", "👩\u{200d}👧", "❤\u{fe0f}"] {
            assert!(Name::parse(name).is_ok(), "{name:?}");
        }
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
