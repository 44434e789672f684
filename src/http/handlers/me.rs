//! `GET /api/users/me`: bearer → `tokens.verify` → `users.find_by_id` → 200.

use hyper::StatusCode;
use hyper::http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;

use crate::actors::Handles;
use crate::http::bearer;
use crate::http::error::Refusal;
use crate::http::reply::{Reply, UserBody, always_true};

/// The current user.
#[derive(Debug, Serialize, ToSchema)]
pub struct MeReply<'a> {
    #[schema(schema_with = always_true)]
    success: bool,
    data: UserBody<'a>,
}

/// Get the current user
///
/// The user whose token the request carries in `Authorization: Bearer`. A token of a user who is gone is refused.
#[utoipa::path(
    get, path = "/api/users/me", tag = "Users", operation_id = "me",
    security(("bearer" = [])),
    responses((status = 200, description = "The token's user", body = MeReply<'_>))
)]
pub(in crate::http) async fn handle(handles: &Handles, head: Parts) -> Result<Reply, Refusal> {
    let user_id = handles.tokens.verify(bearer::token(&head.headers)?)?;
    drop(head);
    let user = handles.users.find_by_id(user_id).await?.ok_or(Refusal::INVALID_TOKEN)?;
    let reply = Reply::json(StatusCode::OK, &MeReply { success: true, data: UserBody::from(&user) })?;
    Ok(reply.to_user(user.id))
}
