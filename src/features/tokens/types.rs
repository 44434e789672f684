//! The result of a verified token.

use uuid::Uuid;

use super::claims::Claims;

/// The principal of a request: the part of a verified token that endpoints need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// The user. The account may be deleted by now; only the database knows.
    pub user: Uuid,
}

impl From<&Claims> for Principal {
    fn from(claims: &Claims) -> Self {
        Self { user: claims.user_id }
    }
}
