//! `POST /api/users/register`: body → `NewUser::parse` → `hasher.hash` → `users.insert` → 201.

use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::actors::Handles;
use crate::actors::user::Registration;
use crate::domain::user::{NewUser, RegistrationFields};
use crate::http::body::{Field, Fields};
use crate::http::client::Client;
use crate::http::error::Refusal;
use crate::http::reply::{Reply, UserBody, always_true};

/// The new account. Unknown fields are ignored.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body in the OpenAPI document; `NewUser::parse` reads it")]
pub struct RegisterBody {
    /// 1 to 100 characters after trimming, at least one that can be seen; no control characters, and none that turn the text.
    // No max_length: white space around it, which is not counted, may go beyond.
    #[schema(min_length = 1, example = "John Doe")]
    name: String,
    /// At most 254 bytes; stored in lower case. A label of the domain may begin or end with a hyphen, so the format is not
    /// quite `email`.
    #[schema(
        max_length = 254,
        pattern = r"^[A-Za-z0-9_%+-]+(\.[A-Za-z0-9_%+-]+)*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}$",
        example = "john.doe@example.com"
    )]
    email: String,
    /// 8 characters to 72 bytes, with an upper-case letter, a lower-case letter and a digit, without NUL.
    #[schema(format = Password, min_length = 8, max_length = 72, example = "SecurePass123")]
    password: String,
}

/// The new user.
#[derive(Debug, Serialize, ToSchema)]
pub struct RegisterReply<'a> {
    #[schema(schema_with = always_true)]
    success: bool,
    #[schema(example = "User registered successfully")]
    message: &'static str,
    data: UserBody<'a>,
}

/// Register
///
/// Makes an account for an email that has none yet. Log in afterwards to get a token.
#[utoipa::path(
    post, path = "/api/users/register", tag = "Users", operation_id = "register",
    security(()),
    request_body = RegisterBody,
    responses((status = 201, description = "The user is registered", body = RegisterReply<'_>))
)]
pub(in crate::http) async fn handle(handles: &Handles, client: Client, mut fields: Fields) -> Result<Reply, Refusal> {
    let NewUser { name, email, password } = NewUser::parse(RegistrationFields {
        name: fields.take(Field::Name),
        email: fields.take(Field::Email),
        password: fields.take(Field::Password),
    })?;
    let password_hash = handles.hasher.hash(password).await?;
    let registration = Registration { name, email, password_hash, network: client.network };
    let user = handles.users.insert(registration).await?;
    let body = RegisterReply { success: true, message: "User registered successfully", data: UserBody::from(&user) };
    Ok(Reply::json(StatusCode::CREATED, &body)?.to_user(user.id))
}
