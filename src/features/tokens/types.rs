//! What a good token gives.

use uuid::Uuid;

use super::claims::Claims;

/// Whom a request speaks for: what a verified token says, as far as endpoints need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// The user. Whether the account still exists is the database's to say.
    pub user: Uuid,
}

impl From<&Claims> for Principal {
    fn from(claims: &Claims) -> Self {
        Self { user: claims.user_id }
    }
}
