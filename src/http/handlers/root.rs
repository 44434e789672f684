//! `GET /`: is anybody there?

use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::error::Refusal;
use crate::http::reply::Reply;

/// That the service runs, and which version.
#[derive(Debug, Serialize, ToSchema)]
pub struct RootReply {
    #[schema(example = "ok")]
    status: &'static str,
    #[schema(example = "User Management API is running")]
    message: &'static str,
    #[schema(example = "1.0.0")]
    version: &'static str,
}

/// Service status
///
/// Answers while the service takes requests, and tells its version. It asks no database: that is what `/readyz` of the
/// admin listener is for.
#[utoipa::path(
    get, path = "/", tag = "Service", operation_id = "root",
    security(()),
    responses((status = 200, description = "The service takes requests", body = RootReply))
)]
pub(in crate::http) fn handle() -> Result<Reply, Refusal> {
    let body =
        RootReply { status: "ok", message: "User Management API is running", version: env!("CARGO_PKG_VERSION") };
    Reply::json(StatusCode::OK, &body)
}
