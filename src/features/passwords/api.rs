//! Refusals where a password could not be checked.

use super::handle::HasherError;
use crate::http::error::Refusal;

impl From<HasherError> for Refusal {
    fn from(error: HasherError) -> Self {
        match error {
            HasherError::Busy { retry_after } => Self::OVERLOADED.after(retry_after),
            HasherError::Failed => Self::UNAVAILABLE,
            HasherError::Call(error) => error.into(),
        }
    }
}
