//! Calls to actors that may be restarted meanwhile.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ractor::rpc::CallResult;
use ractor::{ActorCell, ActorRef, Message, RpcReplyPort};
use thiserror::Error;

/// Where the answer to a message goes.
pub type Reply<T> = RpcReplyPort<T>;
/// An actor, for supervision from outside.
pub type Cell = ActorCell;

/// Why an actor gave no answer at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CallError {
    /// It is being restarted, or died before it answered.
    #[error("the actor is being restarted")]
    Gone,
    /// It did not answer within the configured time.
    #[error("the actor did not answer in time")]
    TimedOut,
}

/// The current actor of a part. A restarted actor is another one: references to the old are dead.
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
