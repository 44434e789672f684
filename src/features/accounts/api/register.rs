//! `POST /api/users/register`: body → name, email and password parsed → `hasher.hash` → `users.insert` → 201.

use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::features::accounts::handle::{Registration, UserHandle};
use crate::features::accounts::types::body::UserBody;
use crate::features::accounts::types::email::Email;
use crate::features::accounts::types::name::Name;
use crate::features::passwords::handle::HasherHandle;
use crate::features::passwords::types::Password;
use crate::http::body::{Broken, Given, Secret, Violation};
use crate::http::docs::answers::{self, Answer};
use crate::http::endpoint::{self, Call, Endpoint, Work};
use crate::http::error::Refusal;
use crate::http::limits::class::Class;
use crate::http::reply::{Reply, always_true};

/// The new account. Unknown fields are ignored.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RegisterBody {
    /// 1 to 100 characters after trimming, at least one that can be seen; no control characters, and none that turn the text.
    // No max_length: white space around it, which is not counted, may go beyond.
    #[schema(value_type = String, required = true, min_length = 1, example = "John Doe")]
    #[serde(default)]
    name: Given<String>,
    /// At most 254 bytes; stored in lower case. A label of the domain may begin or end with a hyphen, so the format is not
    /// quite `email`.
    #[schema(
        value_type = String,
        required = true,
        max_length = 254,
        pattern = r"^[A-Za-z0-9_%+-]+(\.[A-Za-z0-9_%+-]+)*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}$",
        example = "john.doe@example.com"
    )]
    #[serde(default)]
    email: Given<String>,
    /// 8 characters to 72 bytes, with an upper-case letter, a lower-case letter and a digit, without NUL.
    #[schema(
        value_type = String,
        required = true,
        format = Password,
        min_length = 8,
        max_length = 72,
        example = "SecurePass123"
    )]
    #[serde(default)]
    password: Given<Secret>,
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

/// The handles that the endpoint works with.
pub(crate) struct Parts {
    /// Stores the user.
    pub(crate) users: UserHandle,
    /// Hashes the password.
    pub(crate) hasher: HasherHandle,
}

/// The endpoint.
pub(crate) fn endpoint(parts: Parts) -> Endpoint {
    let outline = endpoint::post("/api/users/register", Class::REGISTER).work(Work::Hashing).describe(|operation| {
        let text = "Makes an account for an email that has none yet. Log in afterwards to get a token.";
        operation
            .named("Users", "register", "Register", text)
            .replies::<RegisterReply<'_>>(StatusCode::CREATED, "The user is registered")
            .refuses(refusals())
    });
    outline.handle_json(parts, register)
}

fn refusals() -> Vec<Answer> {
    let invalid = Refusal::invalid(vec![
        Violation::new("email", "must be a valid email address, such as name@example.com"),
        Violation::new("password", "must contain a digit"),
    ]);
    let mut answers = answers::of_bodies();
    answers.extend([
        Answer::new("InvalidBody", "The body is no JSON object, or did not arrive whole.", answers::not_json()),
        Answer::new("EmailTaken", "The email is registered already.", vec![Refusal::EMAIL_TAKEN]),
        Answer::new("InvalidRegistration", "Fields break rules; `details` has each of them.", vec![invalid]),
        answers::rate_limited(),
    ]);
    answers
}

async fn register(parts: Arc<Parts>, call: Call, body: RegisterBody) -> Result<Reply, Refusal> {
    let network = call.client.network;
    drop(call);
    let mut broken = Broken::default();
    let name = broken.parsed("name", body.name, |name| Name::parse(&name));
    let email = broken.parsed("email", body.email, |email| Email::parse(&email));
    let password = broken.parsed("password", body.password, |password| Password::choose(password.into_inner()));
    let (Some(name), Some(email), Some(password)) = (name, email, password) else { return Err(broken.into()) };
    let password_hash = parts.hasher.hash(password).await?;
    let user = parts.users.insert(Registration { name, email, password_hash, network }).await?;
    let body = RegisterReply { success: true, message: "User registered successfully", data: UserBody::from(&user) };
    Ok(Reply::json(StatusCode::CREATED, &body)?.to_user(user.id))
}
