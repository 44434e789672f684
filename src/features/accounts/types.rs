//! Users, and their stored hashes.

pub mod body;
pub mod email;
pub mod name;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::hashing::PasswordHash;
use email::Email;
use name::Name;

/// A registered user, without the hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// UUID v4.
    pub id: Uuid,
    /// Display name.
    pub name: Name,
    /// Address, unique among users.
    pub email: Email,
    /// When the account was made.
    pub created_at: OffsetDateTime,
}

/// A user together with the stored hash.
#[derive(Debug, Clone)]
pub struct Account {
    /// The user.
    pub user: User,
    /// The hash as the database holds it, which need not be a bcrypt hash.
    pub password_hash: PasswordHash,
}
