//! Answers: a status, headers and a body that is whole.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use utoipa::openapi::{Object, ObjectBuilder, Type};
use uuid::Uuid;

use super::error::Refusal;
use super::security;

/// Enough room for most bodies.
const BODY_BYTES: usize = 256;

/// An answer on its way out.
#[derive(Debug)]
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// Headers, but for `content-length`.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// The user whose request it answers, where that is known: for the log.
    pub user: Option<Uuid>,
}

impl Reply {
    /// An answer with the headers that every answer has.
    #[must_use]
    pub fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, headers: security::headers(), body: body.into(), user: None }
    }

    /// An answer of the given content type.
    #[must_use]
    pub fn of_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut reply = Self::new(status, body);
        reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        reply
    }

    /// An answer in JSON, which no cache may keep.
    ///
    /// # Errors
    /// [`Refusal::INTERNAL`] where `body` does not serialize.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, Refusal> {
        let mut text = Vec::with_capacity(BODY_BYTES);
        serde_json::to_writer(&mut text, body).map_err(|error| {
            tracing::error!(%error, "a reply does not serialize");
            Refusal::INTERNAL
        })?;
        // Cut to its length in place: with room to spare, `Bytes` would allocate a second time.
        let body = Bytes::from(text.into_boxed_slice());
        Ok(Self { status, headers: security::json_headers(), body, user: None })
    }

    /// The same, as the answer to a request of this user's.
    #[must_use]
    pub fn to_user(self, id: Uuid) -> Self {
        Self { user: Some(id), ..self }
    }

    /// The response to send. To HEAD the headers say what GET would have sent, without sending it.
    #[must_use]
    pub fn into_response(self, is_head: bool) -> Response<Full<Bytes>> {
        let length = self.body.len();
        let mut response = Response::new(Full::new(if is_head { Bytes::new() } else { self.body }));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        // hyper sets the length of a body that is sent. 204 has none and may not say how long it would be; 304 may only
        // repeat what 200 would (RFC 9110, section 8.6).
        if is_head && ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&self.status) {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        response
    }
}

/// Schema of `success` in an answer that is one: never false, so that generated clients distinguish the two envelopes
/// by it.
#[must_use]
pub fn always_true() -> Object {
    always(true)
}

/// Schema of `success` in a refusal.
#[must_use]
pub fn always_false() -> Object {
    always(false)
}

fn always(value: bool) -> Object {
    let constant = [("const", serde_json::Value::Bool(value))].into_iter().collect();
    ObjectBuilder::new().schema_type(Type::Boolean).examples([value]).extensions(Some(constant)).build()
}
