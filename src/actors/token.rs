//! The token actor.
//!
//! Owns the key; waits on nothing, each message takes microseconds; dies only by a panic, and comes back with the same key.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, crypto, decode, encode};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use time::OffsetDateTime;

use super::supervisor::Child;
use super::{CallError, Current};
use crate::domain::claims::Claims;
use crate::domain::user::User;

/// How long a caller waits: thousands of times what a signature takes.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Signs and verifies tokens.
#[derive(Debug, Clone)]
pub struct TokenHandle {
    actor: Current<Msg>,
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
    /// No answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl TokenHandle {
    /// Issues a token for `user` at `now`.
    ///
    /// # Errors
    /// [`TokenError::Unsigned`], [`TokenError::Call`].
    pub async fn sign(&self, user: &User, now: OffsetDateTime) -> Result<String, TokenError> {
        let user = user.clone();
        self.actor.call(TIMEOUT, |reply| Msg::Sign(user, now, reply)).await?
    }

    /// Reads the claims of a token that this service, or the Python one with the same secret, signed.
    ///
    /// # Errors
    /// [`TokenError::Invalid`], [`TokenError::Call`].
    pub async fn verify(&self, token: String) -> Result<Claims, TokenError> {
        self.actor.call(TIMEOUT, |reply| Msg::Verify(token, reply)).await?
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
    Keys::new(secret, Duration::ZERO).verify(token)
}

/// The handle, and how its actor is started.
pub(super) fn part(secret: &SecretString, ttl: Duration) -> (TokenHandle, Child) {
    install_crypto();
    let keys = Arc::new(Keys::new(secret, ttl));
    let actor = Current::vacant();
    let handle = TokenHandle { actor: actor.clone() };
    let child = Child::new("token", move |supervisor| {
        let (actor, keys) = (actor.clone(), Arc::clone(&keys));
        async move {
            let (started, _) = Actor::spawn_linked(None, TokenActor, keys, supervisor).await?;
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
}

struct Keys {
    header: Header,
    signing: EncodingKey,
    verifying: DecodingKey,
    validation: Validation,
    ttl: Duration,
}

impl Keys {
    fn new(secret: &SecretString, ttl: Duration) -> Self {
        let secret = secret.expose_secret().as_bytes();
        // Names the algorithm, so that a token can't choose its own; by default 60 s of leeway would be granted.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_nbf = true;
        Self {
            header: Header::new(Algorithm::HS256),
            signing: EncodingKey::from_secret(secret),
            verifying: DecodingKey::from_secret(secret),
            validation,
            ttl,
        }
    }

    fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let decoded = decode::<Claims>(token, &self.verifying, &self.validation);
        decoded.map(|data| data.claims).map_err(|_| TokenError::Invalid)
    }
}

struct TokenActor;

impl Actor for TokenActor {
    type Msg = Msg;
    type State = Arc<Keys>;
    type Arguments = Arc<Keys>;

    async fn pre_start(&self, _: ActorRef<Msg>, keys: Arc<Keys>) -> Result<Arc<Keys>, ActorProcessingErr> {
        Ok(keys)
    }

    async fn handle(&self, _: ActorRef<Msg>, msg: Msg, keys: &mut Arc<Keys>) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Sign(user, now, reply) => {
                let claims = Claims::issue(&user, now, keys.ttl);
                let _ = reply.send(encode(&keys.header, &claims, &keys.signing).map_err(|_| TokenError::Unsigned));
            }
            Msg::Verify(token, reply) => {
                let _ = reply.send(keys.verify(&token));
            }
        }
        Ok(())
    }
}
