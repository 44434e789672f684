//! Admits attempts to log in, and counts their outcomes, for others.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::lease::Key;
use super::resolve::Resolve;
use super::waiters::Waiters;
use crate::actors::batcher::Batcher;
use crate::actors::{CallError, Cell};
use crate::crypto::pseudonym::Pseudonyms;
use crate::database::statements::Unavailable;
use crate::domain::network::{Network, Standing};

pub use super::lease::{Outcome, Reservation};

/// Added to `database.timeout_ms`, so that the statement's own error arrives before the caller's deadline.
pub(super) const GRACE: Duration = Duration::from_millis(500);

/// Counts attempts to log in.
#[derive(Debug, Clone)]
pub struct AttemptsHandle {
    pub(super) waiters: Arc<Waiters>,
    pub(super) ends: Batcher<Resolve>,
    pub(super) pseudonyms: Arc<Pseudonyms>,
    pub(super) enabled: bool,
    pub(super) max_wait: Duration,
    pub(super) timeout: Duration,
}

/// Why an attempt was not admitted, or its outcome not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AttemptError {
    /// Too many have failed, or are under way.
    #[error("too many attempts")]
    TooMany {
        /// How long to wait before a retry.
        retry_after: Duration,
    },
    /// The database did not answer, refused, or took too long.
    #[error("the database is not available")]
    Unavailable,
    /// No answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<Unavailable> for AttemptError {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

impl AttemptsHandle {
    /// Admits an attempt to log in to the account of `email`, whether or not there is one, from `network`. Waits while
    /// only attempts under way, or a short pause, stand in its way: for at most `hashing.max_wait_ms`.
    ///
    /// # Errors
    /// Any [`AttemptError`].
    pub async fn reserve(&self, email: &str, network: Network) -> Result<Reservation, AttemptError> {
        let key = self.key(email, network);
        let lease = if self.enabled { Some(self.waiters.lease(key, self.max_wait, self.timeout).await?) } else { None };
        let (email, network) = (self.pseudonyms.email(email), self.pseudonyms.network(network));
        Ok(Reservation::new(key, lease, (email, network), self.ends.clone()))
    }

    /// The standing of `network` with the account of `email`, as far as this replica knows it; the database is not
    /// asked.
    #[must_use]
    pub fn standing(&self, email: &str, network: Network) -> Standing {
        if self.waiters.is_known(&self.key(email, network)) { Standing::Known } else { Standing::Stranger }
    }

    fn key(&self, email: &str, network: Network) -> Key {
        Key { subject: self.pseudonyms.subject(email), source: self.pseudonyms.source(network) }
    }

    /// The actor itself, for supervision from outside.
    #[must_use]
    pub fn cell(&self) -> Option<Cell> {
        self.ends.cell()
    }
}
