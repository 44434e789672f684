//! Finds and stores users, for others.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use uuid::Uuid;

use super::store::{AccountsByEmail, Insert, ReplaceHash, UsersById};
use super::types::email::Email;
use super::types::name::Name;
use super::types::{Account, User};
use crate::actors::batcher::Batcher;
use crate::actors::{CallError, Cell};
use crate::crypto::pseudonym::Pseudonyms;
use crate::database::statements::Unavailable;
use crate::domain::network::Network;
use crate::hashing::PasswordHash;

/// Added to `database.timeout_ms`, so that the statement's own error arrives before the caller's deadline.
pub(super) const GRACE: Duration = Duration::from_millis(500);

/// Finds and stores users.
#[derive(Debug, Clone)]
pub struct UserHandle {
    pub(super) by_id: Batcher<UsersById>,
    pub(super) by_email: Batcher<AccountsByEmail>,
    pub(super) inserts: Batcher<Insert>,
    pub(super) hashes: Batcher<ReplaceHash>,
    pub(super) pseudonyms: Arc<Pseudonyms>,
}

/// Why a user could not be found or stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UserError {
    /// Another user has the address.
    #[error("the email is taken")]
    EmailTaken,
    /// The database did not answer, refused, or took too long. A write may or may not have happened.
    #[error("the database is not available")]
    Unavailable,
    /// No answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// A user to store.
#[derive(Debug)]
pub struct Registration {
    /// Display name.
    pub name: Name,
    /// Address.
    pub email: Email,
    /// Hash of the chosen password.
    pub password_hash: PasswordHash,
    /// Where the registration comes from.
    pub network: Network,
}

impl From<Unavailable> for UserError {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

impl UserHandle {
    /// The user of this id.
    ///
    /// # Errors
    /// [`UserError::Unavailable`], [`UserError::Call`].
    pub async fn find_by_id(&self, id: Uuid) -> Result<Option<User>, UserError> {
        self.by_id.ask(id).await
    }

    /// The account of this address.
    ///
    /// # Errors
    /// [`UserError::Unavailable`], [`UserError::Call`].
    pub async fn find_by_email(&self, email: Email) -> Result<Option<Account>, UserError> {
        self.by_email.ask(email).await
    }

    /// Stores a new user; the table's UNIQUE constraint alone decides which of two comes first.
    ///
    /// # Errors
    /// Any [`UserError`].
    pub async fn insert(&self, registration: Registration) -> Result<User, UserError> {
        let Registration { name, email, password_hash, network } = registration;
        let id = Uuid::new_v4();
        let audit_fields = self.audit_fields(&email, network);
        let row = NewRow { id, name: name.clone(), email: email.clone(), password_hash, audit_fields };
        let created_at = self.inserts.ask(row).await?;
        Ok(User { id, name, email, created_at })
    }

    /// Replaces the account's hash by `new`, unless it has changed since it was read. `network` is that of the login
    /// that led to this.
    ///
    /// # Errors
    /// [`UserError::Unavailable`], [`UserError::Call`].
    pub async fn replace_hash(&self, account: Account, new: PasswordHash, network: Network) -> Result<(), UserError> {
        let Account { user, password_hash: old } = account;
        self.hashes.ask(NewHash { id: user.id, old, new, audit_fields: self.audit_fields(&user.email, network) }).await
    }

    fn audit_fields(&self, email: &Email, network: Network) -> AuditFields {
        AuditFields { email: self.pseudonyms.email(email.as_str()), source: self.pseudonyms.network(network) }
    }

    /// The actor itself, for supervision from outside.
    #[must_use]
    pub fn cell(&self) -> Option<Cell> {
        self.by_id.cell()
    }
}

/// A row to insert.
pub(super) struct NewRow {
    pub(super) id: Uuid,
    pub(super) name: Name,
    pub(super) email: Email,
    pub(super) password_hash: PasswordHash,
    pub(super) audit_fields: AuditFields,
}

/// A hash to replace another.
pub(super) struct NewHash {
    pub(super) id: Uuid,
    pub(super) old: PasswordHash,
    pub(super) new: PasswordHash,
    pub(super) audit_fields: AuditFields,
}

/// Pseudonyms for the event of a change.
pub(super) struct AuditFields {
    pub(super) email: Option<String>,
    pub(super) source: Option<String>,
}
