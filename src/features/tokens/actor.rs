//! The token actor.
//!
//! Keeps the key ring fresh: reads the table of keys in a task beside it, and replaces the ring where that changed;
//! waits on nothing; dies only by a panic, and its successor begins with the latest ring. Tokens are signed and
//! verified in the caller's task, with the current ring.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinHandle;

use super::handle::{Keyring, Msg};
use crate::actors::{Child, Current};

/// How often the table of keys is read. All replicas know an added or revoked key after this time.
const READ_EVERY: Duration = Duration::from_secs(1);

/// How the actor is started.
pub(super) fn child(actor: Current<Msg>, keyring: Arc<Keyring>) -> Child {
    Child::new("token", move |supervisor| {
        let (actor, keyring) = (actor.clone(), Arc::clone(&keyring));
        async move {
            let (started, _) = Actor::spawn_linked(None, TokenActor, keyring, supervisor).await?;
            actor.set(started.clone());
            Ok(started.get_cell())
        }
    })
}

struct State {
    keyring: Arc<Keyring>,
    reading: Option<JoinHandle<()>>,
}

struct TokenActor;

impl Actor for TokenActor {
    type Msg = Msg;
    type State = State;
    type Arguments = Arc<Keyring>;

    async fn pre_start(&self, myself: ActorRef<Msg>, keyring: Arc<Keyring>) -> Result<State, ActorProcessingErr> {
        // Ends with the actor.
        drop(myself.send_interval(READ_EVERY, || Msg::Read));
        Ok(State { keyring, reading: None })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Read if state.reading.as_ref().is_none_or(JoinHandle::is_finished) => {
                let keyring = Arc::clone(&state.keyring);
                let read = async move {
                    let read = keyring.store.read().await;
                    // An actor that is gone has a successor that reads for itself.
                    let _ = myself.cast(Msg::Renew(read));
                };
                state.reading = Some(tokio::spawn(read));
            }
            Msg::Read => {}
            Msg::Renew(read) => state.keyring.renew(read),
        }
        Ok(())
    }
}
