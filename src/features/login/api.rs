//! What clients may ask to log in.

pub mod login;

use super::handle::AttemptError;
use crate::http::error::Refusal;

impl From<AttemptError> for Refusal {
    fn from(error: AttemptError) -> Self {
        match error {
            AttemptError::TooMany { retry_after } => Self::TOO_MANY_ATTEMPTS.after(retry_after),
            AttemptError::Unavailable => Self::UNAVAILABLE,
            AttemptError::Call(error) => error.into(),
        }
    }
}
