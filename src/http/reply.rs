//! Answers: a status, headers and a body that is whole.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::Refusal;
use super::security;
use crate::domain::timestamp::rfc3339_millis;
use crate::domain::user::User;

/// An answer on its way out.
#[derive(Debug)]
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// Headers, but for `content-length`.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Reply {
    /// An answer without headers.
    #[must_use]
    pub fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, headers: HeaderMap::with_capacity(security::HEADERS), body: body.into() }
    }

    /// An answer of the given content type.
    #[must_use]
    pub fn of_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut reply = Self::new(status, body);
        reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        reply
    }

    /// An answer in JSON.
    ///
    /// # Errors
    /// [`Refusal::INTERNAL`] where `body` does not serialize.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, Refusal> {
        let text = serde_json::to_vec(body).map_err(|error| {
            tracing::error!(%error, "a reply does not serialize");
            Refusal::INTERNAL
        })?;
        Ok(Self::of_type(status, "application/json", text))
    }

    /// The response to send. To HEAD the headers say what GET would have sent, without sending it.
    #[must_use]
    pub fn into_response(self, is_head: bool) -> Response<Full<Bytes>> {
        let length = HeaderValue::from(self.body.len());
        let mut response = Response::new(Full::new(if is_head { Bytes::new() } else { self.body }));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        security::protect(response.headers_mut());
        // 204 has no body and may not say how long it would be; 304 may only repeat what 200 would (RFC 9110, section 8.6).
        if ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&self.status) {
            response.headers_mut().insert(CONTENT_LENGTH, length);
        }
        response
    }
}

/// A user as clients see one.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserBody<'a> {
    /// UUID v4.
    #[schema(example = "550e8400-e29b-41d4-a716-446655440000")]
    user_id: Uuid,
    /// Display name.
    #[schema(example = "John Doe")]
    name: &'a str,
    /// Address, in lower case.
    #[schema(example = "john.doe@example.com")]
    email: &'a str,
    /// When the account was made: UTC, with milliseconds.
    #[schema(example = "2025-10-15T12:34:56.789Z", format = DateTime)]
    created_at: String,
}

impl<'a> From<&'a User> for UserBody<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            user_id: user.id,
            name: user.name.as_str(),
            email: user.email.as_str(),
            created_at: rfc3339_millis(user.created_at),
        }
    }
}
