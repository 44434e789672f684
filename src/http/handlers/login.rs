//! `POST /api/users/login`: body → `users.find_by_email` → `hasher.verify` (found hash or decoy) → `tokens.sign` → 200.

use hyper::StatusCode;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::actors::Handles;
use crate::actors::hasher::Verdict;
use crate::domain::Violation;
use crate::domain::email::Email;
use crate::domain::password::Password;
use crate::domain::user::{Account, NotText};
use crate::http::body::Fields;
use crate::http::client::Client;
use crate::http::error::Refusal;
use crate::http::reply::{Reply, UserBody};

/// Who wants to log in. Other keys are ignored.
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
    #[schema(example = true)]
    success: bool,
    #[schema(example = "Login successful")]
    message: &'static str,
    data: LoginData<'a>,
}

/// What a login gives.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoginData<'a> {
    /// JWT, HS256, for 24 hours by default: `{userId, email, iat, exp}`.
    #[schema(
        example = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VySWQiOiI1NTBlODQwMC1lMjliLTQxZDQtYTcxNi00NDY2NTU0NDAwMDAifQ.c2lnbmF0dXJl"
    )]
    token: &'a str,
    user: UserBody<'a>,
}

/// Checks a password and issues a token.
#[utoipa::path(
    post, path = "/api/users/login", tag = "Users", operation_id = "login",
    request_body = LoginBody,
    responses((status = 200, description = "The password is right", body = LoginReply<'_>))
)]
pub(in crate::http) async fn handle(handles: &Handles, _client: Client, mut fields: Fields) -> Result<Reply, Refusal> {
    let (email, password) = credentials(&mut fields)?;
    // An address that nobody can have registered is an unknown one, and costs the same work.
    let account = match Email::parse(&email) {
        Ok(email) => handles.users.find_by_email(email).await?,
        Err(_) => None,
    };
    let password = Password::offered(password);
    let stored = account.as_ref().map(|account| &account.password_hash);
    let verdict = handles.hasher.verify(&email, password.clone(), stored).await?;
    let (Verdict::Match { outdated }, Some(account)) = (verdict, account) else {
        return Err(Refusal::INVALID_CREDENTIALS);
    };
    let token = handles.tokens.sign(&account.user, OffsetDateTime::now_utc()).await?;
    let data = LoginData { token: &token, user: UserBody::from(&account.user) };
    let reply = Reply::json(StatusCode::OK, &LoginReply { success: true, message: "Login successful", data });
    if outdated {
        tokio::spawn(renew_hash(handles.clone(), account, password));
    }
    reply
}

/// Both strings. An empty address is none at all; an empty password is a wrong one.
fn credentials(fields: &mut Fields) -> Result<(Zeroizing<String>, Zeroizing<String>), Refusal> {
    let (email, password) = (fields.take("email"), fields.take("password"));
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

/// Hashes the password anew at today's cost. Nobody waits for it; where it fails, the next login tries again.
async fn renew_hash(handles: Handles, account: Account, password: Password) {
    let renewed = async {
        let hash = handles.hasher.hash(password).await.map_err(Refusal::from)?;
        handles.users.replace_hash(account.user.id, account.password_hash, hash).await.map_err(Refusal::from)
    };
    if let Err(refusal) = renewed.await {
        tracing::warn!(code = refusal.code, "a hash of lower cost could not be renewed");
    }
}
