//! The token actor.
//!
//! Owns the key ring; waits on nothing, each message takes microseconds, and the table of keys is read in a task beside it;
//! dies only by a panic, and comes back with the latest ring. Tokens that it has found good are remembered beside it, and
//! its handle reads those without asking.

mod header;
mod keyring;
mod ring;
mod verified;

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::crypto;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort};
use secrecy::SecretString;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::supervisor::Child;
use super::{CallError, Current};
use crate::database::keys::{KeyStoreError, Snapshot};
use crate::domain::claims::Claims;
use crate::domain::signing_key::Jwk;
use crate::domain::user::User;
pub use keyring::{Keyring, KeyringError};
use ring::Ring;
use verified::Verified;

/// How long a caller waits: thousands of times what a signature takes.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How often the table of keys is read: a key that is added or revoked is known everywhere this much later.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Of the time that a key is published before it signs, the part that others may keep what they have read.
const PUBLISHED_PART: u32 = 2;

/// Signs and verifies tokens.
#[derive(Debug, Clone)]
pub struct TokenHandle {
    actor: Current<Msg>,
    keyring: Arc<Keyring>,
    verified: Arc<Verified>,
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
    /// No answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl TokenHandle {
    /// Issues a token for `user` at `now`.
    ///
    /// # Errors
    /// [`TokenError::Unsigned`], [`TokenError::NoKey`], [`TokenError::Call`].
    pub async fn sign(&self, user: &User, now: OffsetDateTime) -> Result<String, TokenError> {
        let user = user.clone();
        self.actor.call(TIMEOUT, |reply| Msg::Sign(user, now, reply)).await?
    }

    /// The user whose token it is: one that a key of the ring signed, here, on another replica or in the Python service.
    ///
    /// # Errors
    /// [`TokenError::Invalid`], [`TokenError::Call`].
    pub async fn verify(&self, token: &str) -> Result<Uuid, TokenError> {
        if let Some(user_id) = self.verified.find(token) {
            return Ok(user_id);
        }
        // Boxed, because hyper keeps room on every connection for the largest answer in the making.
        let token = token.to_owned();
        Ok(Box::pin(self.actor.call(TIMEOUT, |reply| Msg::Verify(token, reply))).await??.user_id)
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
    Ring::of_secret(secret).verify(token, &Verified::default())
}

/// The handle, and how its actor is started.
pub(super) fn part(keyring: Keyring) -> (TokenHandle, Child) {
    install_crypto();
    let keyring = Arc::new(keyring);
    let (actor, verified) = (Current::vacant(), Arc::<Verified>::default());
    let handle = TokenHandle { actor: actor.clone(), keyring: Arc::clone(&keyring), verified: Arc::clone(&verified) };
    let child = Child::new("token", move |supervisor| {
        let (actor, arguments) = (actor.clone(), (Arc::clone(&keyring), Arc::clone(&verified)));
        async move {
            let (started, _) = Actor::spawn_linked(None, TokenActor, arguments, supervisor).await?;
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
    Sign(User, OffsetDateTime, RpcReplyPort<Result<String, TokenError>>),
    Verify(String, RpcReplyPort<Result<Claims, TokenError>>),
    /// It is time to read the table of keys.
    Read,
    /// What it said.
    Renew(Result<Snapshot, KeyStoreError>),
}

struct State {
    keyring: Arc<Keyring>,
    ring: Arc<Ring>,
    verified: Arc<Verified>,
    reading: Option<JoinHandle<()>>,
}

struct TokenActor;

impl Actor for TokenActor {
    type Msg = Msg;
    type State = State;
    type Arguments = (Arc<Keyring>, Arc<Verified>);

    async fn pre_start(
        &self,
        myself: ActorRef<Msg>,
        (keyring, verified): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        // Ends with the actor.
        drop(myself.send_interval(READ_EVERY, || Msg::Read));
        // The predecessor may have died between a new ring and this.
        verified.forget();
        Ok(State { ring: keyring.ring(), keyring, verified, reading: None })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Sign(user, now, reply) => {
                let claims = Claims::issue(&user, now, state.keyring.ttl);
                let _ = reply.send(state.ring.sign(&claims));
            }
            Msg::Verify(token, reply) => {
                let _ = reply.send(state.ring.verify(&token, &state.verified));
            }
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
            Msg::Renew(read) => {
                let ring = state.keyring.renew(read);
                if !Arc::ptr_eq(&ring, &state.ring) {
                    state.ring = ring;
                    state.verified.forget();
                }
            }
        }
        Ok(())
    }
}
