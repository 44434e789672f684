//! Admits attempts to log in, and counts how they end, for others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::batches::{Rest, Waiter};
use super::known::Known;
use super::lease::{End, Key};
use crate::actors::{self, CallError, Cell, Current};
use crate::crypto::pseudonym::Pseudonyms;
use crate::database::statements::Unavailable;
use crate::domain::network::{Network, Standing};

pub use super::lease::{Outcome, Reservation};

/// On top of `database.timeout_ms`: the statement answers for itself when that is over, and should be heard.
pub(super) const GRACE: Duration = Duration::from_millis(500);
/// How often those who wait ask whether attempts on other replicas have ended; on this one they are told.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Counts attempts to log in.
#[derive(Debug, Clone)]
pub struct AttemptsHandle {
    pub(super) actor: Current<Msg>,
    pub(super) pseudonyms: Arc<Pseudonyms>,
    pub(super) known: Known,
    pub(super) enabled: bool,
    pub(super) max_wait: Duration,
    pub(super) timeout: Duration,
}

/// Why no attempt was admitted, or none counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AttemptError {
    /// Too many have failed, or are under way.
    #[error("too many attempts")]
    TooMany {
        /// When it is worth trying again.
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
    /// Admits an attempt to log in to the account of `email`, whether or not there is one, from `network`. Waits while only
    /// attempts under way, or a short pause, stand in its way: `hashing.max_wait_ms` at the most.
    ///
    /// # Errors
    /// Any [`AttemptError`].
    pub async fn reserve(&self, email: &str, network: Network) -> Result<Reservation, AttemptError> {
        let key = self.key(email, network);
        let lease = if self.enabled {
            let deadline = Instant::now() + self.max_wait;
            let timeout = self.max_wait + self.timeout;
            let reserve = |reply| Msg::Reserve(key, Waiter { reply, deadline, has_waited: false });
            Some(self.actor.call(timeout, reserve).await??)
        } else {
            None
        };
        let (email, network) = (self.pseudonyms.email(email), self.pseudonyms.network(network));
        Ok(Reservation::new(key, lease, (email, network), self.clone()))
    }

    /// What is known here of `network` to the account of `email`, without asking the database.
    #[must_use]
    pub fn standing(&self, email: &str, network: Network) -> Standing {
        if self.known.has(&self.key(email, network)) { Standing::Known } else { Standing::Stranger }
    }

    fn key(&self, email: &str, network: Network) -> Key {
        Key { subject: self.pseudonyms.subject(email), source: self.pseudonyms.source(network) }
    }

    /// The actor itself, for supervision from outside.
    #[must_use]
    pub fn cell(&self) -> Option<Cell> {
        self.actor.cell()
    }

    /// Counts and records an end. An end that an actor took with it when it died is told to its successor.
    pub(super) async fn resolve(&self, end: End) -> Result<(), AttemptError> {
        let started = Instant::now();
        loop {
            let told = self.actor.call(self.timeout, |reply| Msg::Resolve(end.clone(), reply)).await;
            if told.as_ref().err() != Some(&CallError::Gone) || started.elapsed() > self.timeout {
                return told?;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

pub(super) type Reply<T> = actors::Reply<Result<T, AttemptError>>;

pub(super) enum Msg {
    Reserve(Key, Waiter),
    Resolve(End, Reply<()>),
    /// A reserving statement has ended; with those who have to go on waiting.
    Asked(Vec<Rest>),
    /// A resolving statement has ended, of attempts on these accounts, and of logins from these networks.
    Resolved(Vec<[u8; 32]>, Vec<Key>),
    /// Time has passed for those who wait.
    Tick,
    /// Time to delete old counters.
    Reap,
}
