//! `GET /`: whether the service runs, and its version.

use std::sync::Arc;

use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::docs::answers;
use crate::http::endpoint::{self, Call, Endpoint};
use crate::http::error::Refusal;
use crate::http::limits::class::Class;
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

/// The endpoint.
pub(crate) fn endpoint() -> Endpoint {
    let outline = endpoint::get("/", Class::OTHER).describe(|operation| {
        let text = "Answers while the service takes requests, and tells its version. It asks no database: that is what \
                    `/readyz` of the admin listener is for.";
        operation
            .named("Service", "root", "Service status", text)
            .replies::<RootReply>(StatusCode::OK, "The service takes requests")
            .refuses(answers::public())
    });
    outline.handle((), root)
}

async fn root(_: Arc<()>, _: Call) -> Result<Reply, Refusal> {
    let body =
        RootReply { status: "ok", message: "User Management API is running", version: env!("CARGO_PKG_VERSION") };
    Reply::json(StatusCode::OK, &body)
}
