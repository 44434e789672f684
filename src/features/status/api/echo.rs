//! `PUT /api/echo/{word}`: the word, as often as is wished. Shows what an endpoint of its own body and path parameter takes.

use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::body::{Broken, Given};
use crate::http::docs::answers;
use crate::http::endpoint::{self, Call, Endpoint};
use crate::http::error::Refusal;
use crate::http::limits::class::Class;
use crate::http::reply::{Reply, always_true};

/// What is wished.
#[derive(Debug, Deserialize, ToSchema)]
pub struct EchoBody {
    /// How often, 1 to 10.
    #[serde(default)]
    #[schema(value_type = u32, required = true, minimum = 1, maximum = 10, example = 2)]
    times: Given<u32>,
}

/// The echo.
#[derive(Debug, Serialize, ToSchema)]
pub struct EchoReply {
    #[schema(schema_with = always_true)]
    success: bool,
    /// The word, so often.
    data: Vec<String>,
}

/// The endpoint.
pub(crate) fn endpoint() -> Endpoint {
    let outline = endpoint::put("/api/echo/{word}", Class::OTHER).describe(|operation| {
        operation
            .named("Service", "echo", "Echo", "Repeats the word of the path.")
            .replies::<EchoReply>(StatusCode::OK, "The echo")
            .refuses(answers::of_bodies())
    });
    outline.handle_json((), echo)
}

async fn echo(_: Arc<()>, call: Call, body: EchoBody) -> Result<Reply, Refusal> {
    let mut broken = Broken::default();
    let in_range = |times: u32| if (1..=10).contains(&times) { Ok(times) } else { Err(vec!["must be 1 to 10"]) };
    let Some(times) = broken.parsed("times", body.times, in_range) else { return Err(broken.into()) };
    let data = (0..times).map(|_| call.parameter("word").to_owned()).collect();
    Reply::json(StatusCode::OK, &EchoReply { success: true, data })
}
