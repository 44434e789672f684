//! Finds and stores users, for others.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use super::inbox::Lookups;
use super::types::email::Email;
use super::types::name::Name;
use super::types::{Account, User};
use crate::actors::{self, CallError, Cell, Current};
use crate::crypto::pseudonym::Pseudonyms;
use crate::database::statements::Unavailable;
use crate::domain::network::Network;
use crate::hashing::PasswordHash;

/// On top of `database.timeout_ms`: the batch answers for itself when that is over, and should be heard.
pub(super) const GRACE: Duration = Duration::from_millis(500);

/// Finds and stores users.
#[derive(Debug, Clone)]
pub struct UserHandle {
    pub(super) actor: Current<Msg>,
    pub(super) lookups: Arc<Lookups>,
    pub(super) timeout: Duration,
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
        self.lookups.ids.find(id, || self.tell()).await
    }

    /// The account of this address.
    ///
    /// # Errors
    /// [`UserError::Unavailable`], [`UserError::Call`].
    pub async fn find_by_email(&self, email: Email) -> Result<Option<Account>, UserError> {
        self.lookups.emails.find(email, || self.tell()).await
    }

    /// Tells the actor of the first lookup of those that will have gathered when it comes to them. Where there is no actor,
    /// the next one looks for itself.
    fn tell(&self) {
        if let Some(actor) = self.actor.load() {
            let _ = actor.cast(Msg::Gathered);
        }
    }

    /// Stores a new user; the table's UNIQUE constraint alone decides who comes first.
    ///
    /// # Errors
    /// Any [`UserError`].
    pub async fn insert(&self, registration: Registration) -> Result<User, UserError> {
        let Registration { name, email, password_hash, network } = registration;
        let id = Uuid::new_v4();
        let told = self.told(&email, network);
        let row = NewRow { id, name: name.clone(), email: email.clone(), password_hash, told };
        let created_at = self.actor.call(self.timeout, |reply| Msg::Insert(row, reply)).await??;
        Ok(User { id, name, email, created_at })
    }

    /// Puts `new` in the place of the account's hash, unless that has changed since it was read. The login that led to it
    /// came from `network`.
    ///
    /// # Errors
    /// [`UserError::Unavailable`], [`UserError::Call`].
    pub async fn replace_hash(&self, account: Account, new: PasswordHash, network: Network) -> Result<(), UserError> {
        let Account { user, password_hash: old } = account;
        let hash = NewHash { id: user.id, old, new, told: self.told(&user.email, network) };
        self.actor.call(self.timeout, |reply| Msg::ReplaceHash(hash, reply)).await?
    }

    fn told(&self, email: &Email, network: Network) -> Told {
        Told { email: self.pseudonyms.email(email.as_str()), source: self.pseudonyms.network(network) }
    }

    /// The actor itself, for supervision from outside.
    #[must_use]
    pub fn cell(&self) -> Option<Cell> {
        self.actor.cell()
    }
}

pub(super) type Reply<T> = actors::Reply<Result<T, UserError>>;

pub(super) enum Msg {
    /// There are lookups.
    Gathered,
    Insert(NewRow, Reply<OffsetDateTime>),
    ReplaceHash(NewHash, Reply<()>),
    /// A statement's place is free again, and was missed.
    Free,
    /// It is time to look for lookups whose time is over.
    Sweep,
}

/// A row to insert.
pub(super) struct NewRow {
    pub(super) id: Uuid,
    pub(super) name: Name,
    pub(super) email: Email,
    pub(super) password_hash: PasswordHash,
    pub(super) told: Told,
}

/// A hash to put in the place of another.
pub(super) struct NewHash {
    pub(super) id: Uuid,
    pub(super) old: PasswordHash,
    pub(super) new: PasswordHash,
    pub(super) told: Told,
}

/// What the event of a change tells of addresses.
pub(super) struct Told {
    pub(super) email: Option<String>,
    pub(super) source: Option<String>,
}
