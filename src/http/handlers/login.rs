//! `POST /api/users/login`: body → `hasher.expect_room` → `attempts.reserve` and `users.find_by_email` → `hasher.verify`
//! (found hash or decoy) → `attempts.resolve` → `tokens.sign` → 200.

use hyper::StatusCode;
use serde::Serialize;
use time::OffsetDateTime;
use tokio::sync::oneshot;
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::actors::Handles;
use crate::actors::attempts::{Outcome, Reservation};
use crate::actors::hasher::{Verdict, Verification};
use crate::domain::Violation;
use crate::domain::email::Email;
use crate::domain::password::Password;
use crate::domain::user::{Account, NotText};
use crate::http::body::{Field, Fields};
use crate::http::client::Client;
use crate::http::error::Refusal;
use crate::http::reply::{Reply, UserBody, always_true};

/// Credentials. Unknown fields are ignored.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body in the OpenAPI document; the handler reads its fields")]
pub struct LoginBody {
    /// The address, in any case.
    #[schema(min_length = 1, example = "john.doe@example.com")]
    email: String,
    /// The password.
    #[schema(format = Password, example = "SecurePass123")]
    password: String,
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

/// Log in
///
/// Checks email and password and issues a token for `Authorization: Bearer`. An unknown email and a wrong password get the
/// same answer.
#[utoipa::path(
    post, path = "/api/users/login", tag = "Users", operation_id = "login",
    security(()),
    request_body = LoginBody,
    responses((status = 200, description = "The password is right", body = LoginReply<'_>))
)]
pub(in crate::http) async fn handle(handles: &Handles, client: Client, mut fields: Fields) -> Result<Reply, Refusal> {
    let (email, password) = credentials(&mut fields)?;
    // In a storm, what the database would be asked for those who are turned away is time that hashes could have.
    handles.hasher.expect_room(|| handles.attempts.standing(&email, client.network))?;
    // Neither needs the other; what was read for a login that is refused was read in vain.
    let reserve = async { Ok::<_, Refusal>(handles.attempts.reserve(&email, client.network).await?) };
    let (attempt, account) = tokio::try_join!(reserve, find(handles, &email))?;
    let password = Password::offered(password);
    let stored = account.as_ref().map(|account| &account.password_hash);
    let verification = handles.hasher.verify(password.clone(), stored, attempt.standing());
    let verdict = resolve(attempt, verification, account.as_ref().map(|account| account.user.id)).await?;
    let (Verdict::Match { outdated }, Some(account)) = (verdict, account) else {
        return Err(Refusal::INVALID_CREDENTIALS);
    };
    let token = handles.tokens.sign(&account.user, OffsetDateTime::now_utc())?;
    let data = LoginData { token: &token, user: UserBody::from(&account.user) };
    let reply = Reply::json(StatusCode::OK, &LoginReply { success: true, message: "Login successful", data })?;
    let reply = reply.to_user(account.user.id);
    if outdated {
        tokio::spawn(renew_hash(handles.clone(), client, account, password));
    }
    Ok(reply)
}

/// Both strings. An empty address is none at all; an empty password is a wrong one.
fn credentials(fields: &mut Fields) -> Result<(Zeroizing<String>, Zeroizing<String>), Refusal> {
    let (email, password) = (fields.take(Field::Email), fields.take(Field::Password));
    if email == Err(NotText::Missing) || password == Err(NotText::Missing) || email.as_ref().is_ok_and(|e| e.is_empty())
    {
        return Err(Refusal::MISSING_CREDENTIALS);
    }
    match (email, password) {
        (Ok(email), Ok(password)) => Ok((email, password)),
        (email, password) => {
            let email = email.err().map(|error| Violation::new("email", error));
            let password = password.err().map(|error| Violation::new("password", error));
            Err(Refusal::invalid(email.into_iter().chain(password).collect()))
        }
    }
}

/// The account that the offered address names. One that nobody can have registered is an unknown one, and costs the same
/// work.
async fn find(handles: &Handles, email: &str) -> Result<Option<Account>, Refusal> {
    match Email::parse(email) {
        Ok(email) => Ok(handles.users.find_by_email(email).await?),
        Err(_) => Ok(None),
    }
}

/// What the check of the password says, once that is counted and recorded. A client that leaves before the check has begun
/// calls it off; after that it is counted all the same, by a task that does not end with the connection.
async fn resolve(attempt: Reservation, check: Verification, user: Option<Uuid>) -> Result<Verdict, Refusal> {
    // Dropped with this future when the client leaves.
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

/// Hashes the password anew at today's cost. Nobody waits for it; where it fails, the next login tries again.
async fn renew_hash(handles: Handles, client: Client, account: Account, password: Password) {
    let renewed = async {
        let hash = handles.hasher.hash(password).await.map_err(Refusal::from)?;
        handles.users.replace_hash(account, hash, client.network).await.map_err(Refusal::from)
    };
    if let Err(refusal) = renewed.await {
        tracing::warn!(code = refusal.code, "a hash of lower cost could not be renewed");
    }
}
