//! The claims of a token.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

/// The claims of a token, in the names and units that the clients of the Python service know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claims {
    /// The user.
    pub user_id: Uuid,
    /// The user's address when it was issued.
    pub email: String,
    /// Issued at, in seconds since 1970.
    pub iat: i64,
    /// Not valid after, in seconds since 1970.
    pub exp: i64,
}

impl Claims {
    /// Claims for the user of this id and address that hold from `now` for `ttl`, in whole seconds.
    #[must_use]
    pub fn issue(user_id: Uuid, email: &str, now: OffsetDateTime, ttl: Duration) -> Self {
        let iat = now.unix_timestamp();
        let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        Self { user_id, email: email.to_owned(), iat, exp: iat.saturating_add(ttl) }
    }
}
