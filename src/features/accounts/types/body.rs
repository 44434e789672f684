//! Users as clients see them.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::User;
use crate::domain::timestamp::rfc3339_millis;

/// A user as clients see one.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserBody<'a> {
    /// UUID v4.
    #[schema(example = "550e8400-e29b-41d4-a716-446655440000")]
    user_id: Uuid,
    /// Display name.
    #[schema(example = "John Doe")]
    name: &'a str,
    /// Address, in lower case.
    #[schema(example = "john.doe@example.com")]
    email: &'a str,
    /// When the account was made: UTC, with milliseconds.
    #[schema(example = "2025-10-15T12:34:56.789Z", format = DateTime)]
    created_at: String,
}

impl<'a> From<&'a User> for UserBody<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            user_id: user.id,
            name: user.name.as_str(),
            email: user.email.as_str(),
            created_at: rfc3339_millis(user.created_at),
        }
    }
}
