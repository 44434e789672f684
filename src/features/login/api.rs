//! The endpoint of logins.

pub mod login;

use super::handle::{AttemptError, AttemptsHandle};
use crate::features::accounts::handle::UserHandle;
use crate::features::passwords::handle::HasherHandle;
use crate::features::tokens::handle::TokenHandle;
use crate::http::endpoint::Endpoint;
use crate::http::error::Refusal;

/// All of them.
pub(super) fn endpoints(
    attempts: &AttemptsHandle,
    users: &UserHandle,
    hasher: &HasherHandle,
    tokens: &TokenHandle,
) -> Vec<Endpoint> {
    let (users, attempts) = (users.clone(), attempts.clone());
    vec![login::endpoint(login::Parts { users, attempts, hasher: hasher.clone(), tokens: tokens.clone() })]
}

impl From<AttemptError> for Refusal {
    fn from(error: AttemptError) -> Self {
        match error {
            AttemptError::TooMany { retry_after } => Self::TOO_MANY_ATTEMPTS.after(retry_after),
            AttemptError::Unavailable => Self::UNAVAILABLE,
            AttemptError::Call(error) => error.into(),
        }
    }
}
