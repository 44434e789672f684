//! `POST /api/users/login`: body → `hasher.expect_room` → `attempts.reserve` and `users.find_by_email` → `hasher.verify`
//! (found hash or decoy) → `attempts.resolve` → `tokens.sign` → 200.

use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::sync::oneshot;
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::domain::network::Network;
use crate::features::accounts::handle::UserHandle;
use crate::features::accounts::types::Account;
use crate::features::accounts::types::body::UserBody;
use crate::features::accounts::types::email::Email;
use crate::features::login::handle::{AttemptsHandle, Outcome, Reservation};
use crate::features::passwords::handle::{HasherHandle, Verdict, Verification};
use crate::features::passwords::types::Password;
use crate::features::tokens::handle::TokenHandle;
use crate::http::body::{Broken, Given, Secret, Violation};
use crate::http::docs::answers::{self, Answer};
use crate::http::endpoint::{self, Call, Endpoint, Work};
use crate::http::error::Refusal;
use crate::http::limits::class::Class;
use crate::http::reply::{Reply, always_true};

/// Credentials. Unknown fields are ignored.
#[derive(Debug, Deserialize, ToSchema)]
pub struct LoginBody {
    /// The address, in any case.
    #[schema(value_type = String, required = true, min_length = 1, example = "john.doe@example.com")]
    #[serde(default)]
    email: Given<String>,
    /// The password.
    #[schema(value_type = String, required = true, format = Password, example = "SecurePass123")]
    #[serde(default)]
    password: Given<Secret>,
}

/// A token, and whose it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoginReply<'a> {
    #[schema(schema_with = always_true)]
    success: bool,
    #[schema(example = "Login successful")]
    message: &'static str,
    data: LoginData<'a>,
}

/// What a login gives.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoginData<'a> {
    /// JWT for 24 hours by default: `{userId, email, iat, exp}`. HS256, or of a key in `/.well-known/jwks.json`.
    #[schema(
        example = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VySWQiOiI1NTBlODQwMC1lMjliLTQxZDQtYTcxNi00NDY2NTU0NDAwMDAifQ.c2lnbmF0dXJl"
    )]
    token: &'a str,
    user: UserBody<'a>,
}

/// The handles that the endpoint works with.
pub(crate) struct Parts {
    /// Finds the account.
    pub(crate) users: UserHandle,
    /// Admits the attempt, and counts its outcome.
    pub(crate) attempts: AttemptsHandle,
    /// Checks the password.
    pub(crate) hasher: HasherHandle,
    /// Signs the token.
    pub(crate) tokens: TokenHandle,
}

/// The endpoint.
pub(crate) fn endpoint(parts: Parts) -> Endpoint {
    let outline = endpoint::post("/api/users/login", Class::LOGIN).work(Work::Hashing).describe(|operation| {
        let text = "Checks email and password and issues a token for `Authorization: Bearer`. An unknown email and a \
                    wrong password get the same answer.";
        operation
            .named("Users", "login", "Log in", text)
            .replies::<LoginReply<'_>>(StatusCode::OK, "The password is right")
            .refuses(refusals())
    });
    outline.handle_json(parts, login)
}

fn refusals() -> Vec<Answer> {
    let mut bad = answers::not_json();
    bad.push(Refusal::MISSING_CREDENTIALS);
    let wrong = vec![Refusal::INVALID_CREDENTIALS];
    let invalid = Refusal::invalid(vec![Violation::new("password", "must be a string")]);
    let often = vec![Refusal::RATE_LIMITED, Refusal::TOO_MANY_ATTEMPTS];
    let mut answers = answers::of_bodies();
    answers.extend([
        Answer::new("InvalidLoginBody", "The body is no JSON object, or has no email or no password.", bad),
        Answer::new("WrongCredentials", "No account has this email, or it has another password.", wrong),
        Answer::new("InvalidLogin", "Email or password is no string.", vec![invalid]),
        Answer::new("TooManyLogins", "Too many requests of one network, or too many failed logins.", often),
    ]);
    answers
}

async fn login(parts: Arc<Parts>, call: Call, body: LoginBody) -> Result<Reply, Refusal> {
    let network = call.client.network;
    drop(call);
    let (email, password) = credentials(body)?;
    let Parts { users, attempts, hasher, tokens } = &*parts;
    // In a storm, database work for logins that are refused anyway would take time from hashes.
    hasher.expect_room(|| attempts.standing(&email, network))?;
    // Neither needs the other. For a login that is refused, the lookup was in vain.
    let reserve = async { Ok::<_, Refusal>(attempts.reserve(&email, network).await?) };
    let (attempt, account) = tokio::try_join!(reserve, find(users, &email))?;
    let password = Password::offered(password);
    let stored = account.as_ref().map(|account| &account.password_hash);
    let verification = hasher.verify(password.clone(), stored, attempt.standing());
    let verdict = resolve(attempt, verification, account.as_ref().map(|account| account.user.id)).await?;
    let (Verdict::Match { outdated }, Some(account)) = (verdict, account) else {
        return Err(Refusal::INVALID_CREDENTIALS);
    };
    let token = tokens.sign(account.user.id, account.user.email.as_str(), OffsetDateTime::now_utc())?;
    let data = LoginData { token: &token, user: UserBody::from(&account.user) };
    let reply = Reply::json(StatusCode::OK, &LoginReply { success: true, message: "Login successful", data })?;
    let reply = reply.to_user(account.user.id);
    if outdated {
        tokio::spawn(renew_hash(Arc::clone(&parts), network, account, password));
    }
    Ok(reply)
}

/// Returns both strings. An empty address counts as missing; an empty password is a wrong one.
fn credentials(LoginBody { email, password }: LoginBody) -> Result<(String, Zeroizing<String>), Refusal> {
    let is_empty = matches!(&email, Given::Value(email) if email.is_empty());
    if is_empty || email == Given::Missing || password == Given::Missing {
        return Err(Refusal::MISSING_CREDENTIALS);
    }
    let mut broken = Broken::default();
    let email = broken.required("email", email);
    let password = broken.required("password", password);
    match (email, password) {
        (Some(email), Some(password)) => Ok((email, password.into_inner())),
        _ => Err(broken.into()),
    }
}

/// Finds the account of the offered address. A malformed address is an unknown one, and costs the same hash.
async fn find(users: &UserHandle, email: &str) -> Result<Option<Account>, Refusal> {
    match Email::parse(email) {
        Ok(email) => Ok(users.find_by_email(email).await?),
        Err(_) => Ok(None),
    }
}

/// Returns the verdict of the password check, once the outcome is counted and recorded. A client that leaves before the
/// check has begun cancels it. After that it is completed and counted, because it runs in a task of its own.
async fn resolve(attempt: Reservation, check: Verification, user: Option<Uuid>) -> Result<Verdict, Refusal> {
    // Dropped with this future, when the client leaves.
    let (_stays, left) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        let verdict = check.verdict_unless(left).await.ok_or(Refusal::UNAVAILABLE)??;
        let outcome = match verdict {
            Verdict::Match { .. } => Outcome::Succeeded,
            Verdict::Mismatch => Outcome::Failed,
        };
        attempt.resolve(outcome, user).await?;
        Ok(verdict)
    });
    task.await.map_err(|_| Refusal::UNAVAILABLE)?
}

/// Hashes the password again at the configured cost. Nobody waits for it; if it fails, the next login tries again.
async fn renew_hash(parts: Arc<Parts>, network: Network, account: Account, password: Password) {
    let renewed = async {
        let hash = parts.hasher.hash(password).await.map_err(Refusal::from)?;
        parts.users.replace_hash(account, hash, network).await.map_err(Refusal::from)
    };
    if let Err(refusal) = renewed.await {
        tracing::warn!(code = refusal.code, "a hash of lower cost could not be renewed");
    }
}
