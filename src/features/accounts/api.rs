//! What clients may ask about accounts.

pub mod me;
pub mod register;

use super::handle::UserError;
use crate::http::error::Refusal;

impl From<UserError> for Refusal {
    fn from(error: UserError) -> Self {
        match error {
            UserError::EmailTaken => Self::EMAIL_TAKEN,
            UserError::Unavailable => Self::UNAVAILABLE,
            UserError::Call(error) => error.into(),
        }
    }
}
