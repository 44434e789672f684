//! Endpoints about tokens.

pub mod jwks;

use super::handle::TokenError;
use crate::http::error::Refusal;

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid => Self::INVALID_TOKEN,
            TokenError::Unsigned => Self::INTERNAL,
            TokenError::NoKey => Self::UNAVAILABLE,
        }
    }
}
