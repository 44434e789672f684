//! The token actor.
//!
//! Keeps the key ring fresh: reads the table of keys in a task beside it, and swaps the ring where that changed; waits on
//! nothing; dies only by a panic, and comes back with the latest ring. Tokens are signed and verified in the caller's task, with
//! the ring of that moment.

mod header;
mod keyring;
mod ring;
mod verified;

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::crypto;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef};
use secrecy::SecretString;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::Current;
use super::supervisor::Child;
use crate::database::keys::{KeyStoreError, Snapshot};
use crate::domain::claims::Claims;
use crate::domain::signing_key::Jwk;
use crate::domain::user::User;
pub use keyring::{Keyring, KeyringError};
use ring::Ring;

/// How often the table of keys is read: a key that is added or revoked is known everywhere this much later.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Of the time that a key is published before it signs, the part that others may keep what they have read.
const PUBLISHED_PART: u32 = 2;

/// Signs and verifies tokens.
#[derive(Debug, Clone)]
pub struct TokenHandle {
    actor: Current<Msg>,
    keyring: Arc<Keyring>,
}

/// The public keys that tokens may be checked with, for others.
#[derive(Debug)]
pub struct PublicKeys {
    /// The keys; a shared secret is not among them.
    pub keys: Vec<Jwk>,
    /// How long they may be kept: a key that is not among them does not sign before that.
    pub max_age: Duration,
}

/// Why there is no token, or no user in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Out of form, of another key or algorithm, expired, or without the claims.
    #[error("the token is invalid or has expired")]
    Invalid,
    /// The claims could not be signed.
    #[error("the token could not be signed")]
    Unsigned,
    /// There is no key to sign with.
    #[error("there is no key to sign with")]
    NoKey,
}

impl TokenHandle {
    /// Issues a token for `user` at `now`. Computes on the caller's thread, some 20 µs with `EdDSA`.
    ///
    /// # Errors
    /// [`TokenError::Unsigned`], [`TokenError::NoKey`].
    pub fn sign(&self, user: &User, now: OffsetDateTime) -> Result<String, TokenError> {
        self.keyring.ring().sign(&Claims::issue(user, now, self.keyring.ttl))
    }

    /// The user whose token it is: one that a key of the ring signed, here, on another replica or in the Python service.
    /// Computes on the caller's thread, some 30 µs with `EdDSA` for a token that was not seen of late.
    ///
    /// # Errors
    /// [`TokenError::Invalid`].
    pub fn verify(&self, token: &str) -> Result<Uuid, TokenError> {
        self.keyring.ring().user_of(token)
    }

    /// What tokens may be checked with.
    #[must_use]
    pub fn public_keys(&self) -> PublicKeys {
        PublicKeys { keys: self.keyring.jwks(), max_age: self.keyring.publish / PUBLISHED_PART }
    }

    /// The actor itself, for supervision from outside.
    #[must_use]
    pub fn cell(&self) -> Option<ActorCell> {
        self.actor.cell()
    }
}

/// Reads the claims of a token that was signed with `secret`, as the actor does it.
///
/// # Errors
/// [`TokenError::Invalid`].
pub fn verify_with(secret: &SecretString, token: &str) -> Result<Claims, TokenError> {
    install_crypto();
    Ring::of_secret(secret).verify(token)
}

/// The handle, and how its actor is started.
pub(super) fn part(keyring: Keyring) -> (TokenHandle, Child) {
    install_crypto();
    let keyring = Arc::new(keyring);
    let actor = Current::vacant();
    let handle = TokenHandle { actor: actor.clone(), keyring: Arc::clone(&keyring) };
    let child = Child::new("token", move |supervisor| {
        let (actor, keyring) = (actor.clone(), Arc::clone(&keyring));
        async move {
            let (started, _) = Actor::spawn_linked(None, TokenActor, keyring, supervisor).await?;
            actor.set(started.clone());
            Ok(started.get_cell())
        }
    });
    (handle, child)
}

/// Both crypto crates in the tree would make jsonwebtoken panic at first use; the first installation stands.
fn install_crypto() {
    let _ = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

enum Msg {
    /// It is time to read the table of keys.
    Read,
    /// What it said.
    Renew(Result<Snapshot, KeyStoreError>),
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
