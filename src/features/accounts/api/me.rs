//! `GET /api/users/me`: bearer → `tokens.verify` → `users.find_by_id` → 200.

use std::sync::Arc;

use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::features::accounts::handle::UserHandle;
use crate::features::accounts::types::body::UserBody;
use crate::features::tokens::handle::TokenHandle;
use crate::http::bearer;
use crate::http::docs::answers::{self, Answer};
use crate::http::endpoint::{self, Call, Caller, Endpoint};
use crate::http::error::Refusal;
use crate::http::limits::class::Class;
use crate::http::reply::{Reply, always_true};

/// The current user.
#[derive(Debug, Serialize, ToSchema)]
pub struct MeReply<'a> {
    #[schema(schema_with = always_true)]
    success: bool,
    data: UserBody<'a>,
}

/// The endpoint.
pub(crate) fn endpoint(users: UserHandle, tokens: TokenHandle) -> Endpoint {
    let outline = endpoint::get("/api/users/me", Class::PROFILE).called_by(Caller::User).describe(|operation| {
        let text = "The user whose token the request carries in `Authorization: Bearer`. A token of a user who is gone is \
                    refused.";
        operation
            .named("Users", "me", "Get the current user", text)
            .replies::<MeReply<'_>>(StatusCode::OK, "The token's user")
            .refuses(refusals())
    });
    outline.handle((users, tokens), me)
}

fn refusals() -> Vec<Answer> {
    let mut answers = answers::of_databases();
    answers.extend([
        Answer::new("InvalidToken", "The token is bad or expired, or its user is gone.", vec![Refusal::INVALID_TOKEN]),
        Answer::new("NotAuthenticated", "The request has no bearer token.", vec![Refusal::NOT_AUTHENTICATED]),
        answers::rate_limited(),
    ]);
    answers
}

async fn me(parts: Arc<(UserHandle, TokenHandle)>, call: Call) -> Result<Reply, Refusal> {
    let (users, tokens) = &*parts;
    let principal = tokens.verify(bearer::token(&call.head.headers)?)?;
    // While the head lives, hyper cannot use its read buffer again.
    drop(call);
    let user = users.find_by_id(principal.user).await?.ok_or(Refusal::INVALID_TOKEN)?;
    let reply = Reply::json(StatusCode::OK, &MeReply { success: true, data: UserBody::from(&user) })?;
    Ok(reply.to_user(user.id))
}
