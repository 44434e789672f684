//! Endpoints about accounts.

pub mod me;
pub mod register;

use super::handle::{UserError, UserHandle};
use crate::features::passwords::handle::HasherHandle;
use crate::features::tokens::handle::TokenHandle;
use crate::http::endpoint::Endpoint;
use crate::http::error::Refusal;

/// All of them.
pub(super) fn endpoints(users: &UserHandle, hasher: &HasherHandle, tokens: &TokenHandle) -> Vec<Endpoint> {
    let (hasher, tokens) = (hasher.clone(), tokens.clone());
    vec![register::endpoint(register::Parts { users: users.clone(), hasher }), me::endpoint(users.clone(), tokens)]
}

impl From<UserError> for Refusal {
    fn from(error: UserError) -> Self {
        match error {
            UserError::EmailTaken => Self::EMAIL_TAKEN,
            UserError::Unavailable => Self::UNAVAILABLE,
            UserError::Call(error) => error.into(),
        }
    }
}
