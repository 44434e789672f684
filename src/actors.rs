//! The actors, behind handles that hide their messages.
//!
//! Handlers are the only place where steps are joined: actors never call each other.

pub mod attempts;
pub mod audit;
mod batch;
pub mod hasher;
pub mod supervisor;
pub mod token;
pub mod user;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use deadpool_postgres::Pool;
use ractor::rpc::CallResult;
use ractor::{ActorCell, ActorRef, Message, RpcReplyPort, SpawnErr};
use thiserror::Error;

use crate::config;
use crate::domain::pseudonym::Pseudonyms;
use crate::hashing::engine::Engines;
use crate::telemetry::{Health, Metrics};
use supervisor::Child;

pub use attempts::AttemptsHandle;
pub use audit::AuditHandle;
pub use hasher::HasherHandle;
pub use token::{Keyring, KeyringError, TokenHandle};
pub use user::UserHandle;

/// One handle per actor, cheap to clone.
#[derive(Debug, Clone)]
pub struct Handles {
    /// Users and their persistence.
    pub users: UserHandle,
    /// Attempts to log in.
    pub attempts: AttemptsHandle,
    /// Password hashing.
    pub hasher: HasherHandle,
    /// Tokens.
    pub tokens: TokenHandle,
    /// The audit log.
    pub audit: AuditHandle,
}

/// Why an actor gave no answer at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CallError {
    /// It is being restarted, or died with the call in its hands.
    #[error("the actor is being restarted")]
    Gone,
    /// It did not answer within the configured time.
    #[error("the actor did not answer in time")]
    TimedOut,
}

/// The actor that currently plays a part. A restarted actor is another one: references to the old are dead.
pub(crate) struct Current<M>(Arc<RwLock<Option<ActorRef<M>>>>);

impl<M> Clone for Current<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> std::fmt::Debug for Current<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Current")
    }
}

impl<M: Message> Current<M> {
    pub(crate) fn vacant() -> Self {
        Self(Arc::new(RwLock::new(None)))
    }

    pub(crate) fn set(&self, actor: ActorRef<M>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(actor);
    }

    pub(crate) fn load(&self) -> Option<ActorRef<M>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For supervision from outside, as fault tests do it.
    pub(crate) fn cell(&self) -> Option<ActorCell> {
        self.load().map(|actor| actor.get_cell())
    }

    /// Sends the message that `build` makes around a reply port, and waits for the reply: `timeout` at the most.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        timeout: Duration,
        build: impl FnOnce(RpcReplyPort<T>) -> M,
    ) -> Result<T, CallError> {
        let actor = self.load().ok_or(CallError::Gone)?;
        match actor.call(build, Some(timeout)).await {
            Ok(CallResult::Success(reply)) => Ok(reply),
            Ok(CallResult::Timeout) => Err(CallError::TimedOut),
            Ok(CallResult::SenderError) | Err(_) => Err(CallError::Gone),
        }
    }
}

/// What actors are built from.
#[derive(Debug)]
pub struct Supplies {
    /// Keys of tokens.
    pub keyring: Keyring,
    /// Makes pseudonyms.
    pub pseudonyms: Arc<Pseudonyms>,
    /// Connections to the database.
    pub pool: Pool,
    /// Hash threads.
    pub engines: Engines,
    /// The service's metrics.
    pub metrics: Arc<Metrics>,
}

/// Actors that do not run yet.
#[derive(Debug)]
pub struct Troupe {
    /// What asks them.
    pub handles: Handles,
    children: Vec<Child>,
}

/// Makes the handles of all actors, and what starts them.
#[must_use]
pub fn build(config: &config::Config, supplies: Supplies) -> Troupe {
    let Supplies { keyring, pseudonyms, pool, engines, metrics } = supplies;
    let (pseudonyms, metrics) = (&pseudonyms, &metrics);
    let (attempts, attempts_part) = attempts::part(pool.clone(), config, Arc::clone(pseudonyms), metrics);
    let (audit, audit_part) = audit::part(pool.clone(), config, pseudonyms, metrics);
    let (users, user_part) = user::part(pool, &config.database, pseudonyms, metrics);
    let (hasher, hasher_part) = hasher::part(engines, &config.hashing, metrics);
    let (tokens, token_part) = token::part(keyring);
    let children = vec![user_part, attempts_part, hasher_part, token_part, audit_part];
    Troupe { handles: Handles { users, attempts, hasher, tokens, audit }, children }
}

impl Troupe {
    /// Starts them under one supervisor; stopping that stops them all.
    ///
    /// # Errors
    /// Where one of them does not start.
    pub async fn start(self, health: &Arc<Health>) -> Result<ActorCell, SpawnErr> {
        supervisor::start(self.children, Arc::clone(health)).await
    }
}
