//! Refusals: every answer that is not a success, with its status, its code and its fixed words.
//!
//! The only place that knows which error is which status. Clients get fixed text; causes go to the log where they occur.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use utoipa::ToSchema;

use super::bearer::BearerError;
use super::body::BodyError;
use super::reply::Reply;
use crate::actors::CallError;
use crate::actors::attempts::AttemptError;
use crate::actors::hasher::HasherError;
use crate::actors::token::TokenError;
use crate::actors::user::UserError;
use crate::domain::Violation;

/// After an outage or a restart, most clients find the service well again by then.
const RETRY_AFTER_OUTAGE: Duration = Duration::from_secs(1);

/// An answer that is not a success.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// What programs tell it by.
    pub code: &'static str,
    /// What people read.
    pub message: &'static str,
    /// Broken rules, one by one.
    pub details: Vec<Violation>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// Methods that would do.
    pub allow: Option<&'static str>,
    /// The rest of the request has not been read, so the connection can't be used again.
    pub close: bool,
}

/// How a refusal is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The service's own envelope.
    Envelope,
    /// RFC 9457.
    Problem,
}

impl Refusal {
    const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message, details: Vec::new(), retry_after: None, allow: None, close: false }
    }

    const fn after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    const fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// 400: the body is not JSON.
    pub const MALFORMED_JSON: Self = Self::new(StatusCode::BAD_REQUEST, "malformed_json", "The body is not valid JSON");
    /// 400: the body is JSON, but no object.
    pub const NOT_AN_OBJECT: Self =
        Self::new(StatusCode::BAD_REQUEST, "not_an_object", "The body must be a JSON object");
    /// 400: an object in the body has a key twice.
    pub const DUPLICATE_KEY: Self = Self::new(StatusCode::BAD_REQUEST, "duplicate_key", "The body has a key twice");
    /// 400: the body ended early.
    pub const INCOMPLETE_BODY: Self = Self::new(StatusCode::BAD_REQUEST, "incomplete_body", "The body is incomplete");
    /// 400: a login without email or password.
    pub const MISSING_CREDENTIALS: Self =
        Self::new(StatusCode::BAD_REQUEST, "missing_credentials", "Email and password are required");
    /// 401: no such account, or another password.
    pub const INVALID_CREDENTIALS: Self =
        Self::new(StatusCode::UNAUTHORIZED, "invalid_credentials", "Invalid email or password");
    /// 401: a token that is bad, expired, or of a user who is gone.
    pub const INVALID_TOKEN: Self = Self::new(StatusCode::UNAUTHORIZED, "invalid_token", "Invalid or expired token");
    /// 403: no bearer token at all.
    pub const NOT_AUTHENTICATED: Self = Self::new(StatusCode::FORBIDDEN, "not_authenticated", "Not authenticated");
    /// 404.
    pub const NOT_FOUND: Self = Self::new(StatusCode::NOT_FOUND, "not_found", "Not found");
    /// 405.
    pub const METHOD_NOT_ALLOWED: Self =
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed");
    /// 408: the body came too slowly.
    pub const REQUEST_TIMEOUT: Self =
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "The request took too long to arrive").closing();
    /// 409: the address is another user's.
    pub const EMAIL_TAKEN: Self = Self::new(StatusCode::CONFLICT, "email_taken", "Email already registered");
    /// 413: the body is over the limit.
    pub const PAYLOAD_TOO_LARGE: Self =
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "The body is too large").closing();
    /// 415: the body is declared as something else than JSON.
    pub const UNSUPPORTED_MEDIA_TYPE: Self = Self::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "Content-Type must be application/json",
    );
    /// 422: the fields break rules.
    pub const VALIDATION_FAILED: Self =
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_failed", "Validation failed");
    /// 400: not HTTP.
    pub const MALFORMED_REQUEST: Self =
        Self::new(StatusCode::BAD_REQUEST, "malformed_request", "The request is not valid HTTP").closing();
    /// 400: the redirect to HTTPS knows no host.
    pub const BAD_HOST: Self =
        Self::new(StatusCode::BAD_REQUEST, "bad_host", "The request does not say of which host").closing();
    /// 400: plain HTTP, where HTTPS is spoken.
    pub const NOT_TLS: Self =
        Self::new(StatusCode::BAD_REQUEST, "tls_required", "This port speaks HTTPS only").closing();
    /// 414: the path is too long.
    pub const URI_TOO_LONG: Self =
        Self::new(StatusCode::URI_TOO_LONG, "uri_too_long", "The path is too long").closing();
    /// 429: the client's network has made too many requests of this kind.
    pub const RATE_LIMITED: Self =
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Too many requests; try again later")
            .after(RETRY_AFTER_OUTAGE);
    /// 431: the headers are over the limit.
    pub const HEADERS_TOO_LARGE: Self =
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", "The headers are too large")
            .closing();
    /// 505.
    pub const VERSION_NOT_SUPPORTED: Self =
        Self::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "version_not_supported", "The HTTP version is not supported")
            .closing();
    /// 429: an account and a network with too many failed logins, whether or not there is such an account.
    pub const TOO_MANY_ATTEMPTS: Self =
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", "Too many login attempts; try again later")
            .after(RETRY_AFTER_OUTAGE);
    /// 500.
    pub const INTERNAL: Self = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "Internal server error");
    /// 503: too many password checks wait.
    pub const OVERLOADED: Self =
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too many requests are waiting; try again later")
            .after(RETRY_AFTER_OUTAGE);
    /// 503: the database or an actor is away.
    pub const UNAVAILABLE: Self = Self::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "The service is temporarily unavailable; try again later",
    )
    .after(RETRY_AFTER_OUTAGE);

    /// 405 with the methods that would do.
    #[must_use]
    pub const fn method_not_allowed(allow: &'static str) -> Self {
        let mut refusal = Self::METHOD_NOT_ALLOWED;
        refusal.allow = Some(allow);
        refusal
    }

    /// 429 until `retry_after`.
    #[must_use]
    pub const fn rate_limited(retry_after: Duration) -> Self {
        Self::RATE_LIMITED.after(retry_after)
    }

    /// 422 with every broken rule.
    #[must_use]
    pub fn invalid(details: Vec<Violation>) -> Self {
        Self { details, ..Self::VALIDATION_FAILED }
    }

    /// Writes it in `format`.
    #[must_use]
    pub fn into_reply(self, format: Format) -> Reply {
        let (body, content_type) = match format {
            Format::Envelope => (serde_json::to_vec(&ErrorReply::from(&self)), "application/json"),
            Format::Problem => (serde_json::to_vec(&Problem::from(&self)), "application/problem+json"),
        };
        let mut reply = Reply::new(self.status, body.unwrap_or_default());
        reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(allow) = self.allow {
            reply.headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(after) = self.retry_after {
            // Whole seconds, at least one: 0 would mean at once.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            reply.headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            reply.headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.close {
            reply.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::NotJson => Self::MALFORMED_JSON,
            BodyError::NotAnObject => Self::NOT_AN_OBJECT,
            BodyError::DuplicateKey => Self::DUPLICATE_KEY,
            BodyError::Incomplete => Self::INCOMPLETE_BODY,
            BodyError::TooLarge => Self::PAYLOAD_TOO_LARGE,
            BodyError::TooSlow => Self::REQUEST_TIMEOUT,
            BodyError::NotJsonType => Self::UNSUPPORTED_MEDIA_TYPE,
        }
    }
}

impl From<Vec<Violation>> for Refusal {
    fn from(violations: Vec<Violation>) -> Self {
        Self::invalid(violations)
    }
}

impl From<BearerError> for Refusal {
    fn from(error: BearerError) -> Self {
        match error {
            BearerError::Absent | BearerError::Malformed => Self::NOT_AUTHENTICATED,
        }
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Gone | CallError::TimedOut => Self::UNAVAILABLE,
        }
    }
}

impl From<UserError> for Refusal {
    fn from(error: UserError) -> Self {
        match error {
            UserError::EmailTaken => Self::EMAIL_TAKEN,
            UserError::Unavailable => Self::UNAVAILABLE,
            UserError::Call(error) => error.into(),
        }
    }
}

impl From<AttemptError> for Refusal {
    fn from(error: AttemptError) -> Self {
        match error {
            AttemptError::TooMany { retry_after } => Self::TOO_MANY_ATTEMPTS.after(retry_after),
            AttemptError::Unavailable => Self::UNAVAILABLE,
            AttemptError::Call(error) => error.into(),
        }
    }
}

impl From<HasherError> for Refusal {
    fn from(error: HasherError) -> Self {
        match error {
            HasherError::Busy { retry_after } => Self::OVERLOADED.after(retry_after),
            HasherError::Failed => Self::UNAVAILABLE,
            HasherError::Call(error) => error.into(),
        }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid => Self::INVALID_TOKEN,
            TokenError::Unsigned => Self::INTERNAL,
            TokenError::NoKey => Self::UNAVAILABLE,
            TokenError::Call(error) => error.into(),
        }
    }
}

/// A refusal as a client sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorReply {
    /// Always false.
    success: bool,
    /// What people read.
    message: &'static str,
    error: ErrorBody,
}

/// What programs read of a refusal.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// What tells this refusal from others.
    code: &'static str,
    /// Every broken rule, where that is what was refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    details: Vec<Detail>,
}

/// One broken rule.
#[derive(Debug, Serialize, ToSchema)]
pub struct Detail {
    /// The JSON key at fault.
    field: &'static str,
    /// The rule.
    message: String,
}

/// A refusal by RFC 9457.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says it all.
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// What people read.
    detail: &'static str,
    /// What tells this refusal from others.
    code: &'static str,
    /// Every broken rule, where that is what was refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    details: Vec<Detail>,
}

fn details(refusal: &Refusal) -> Vec<Detail> {
    refusal.details.iter().map(|v| Detail { field: v.field, message: v.message.clone() }).collect()
}

impl From<&Refusal> for ErrorReply {
    fn from(refusal: &Refusal) -> Self {
        let error = ErrorBody { code: refusal.code, details: details(refusal) };
        Self { success: false, message: refusal.message, error }
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        Self {
            r#type: "about:blank",
            title: refusal.status.canonical_reason().unwrap_or("Error"),
            status: refusal.status.as_u16(),
            detail: refusal.message,
            code: refusal.code,
            details: details(refusal),
        }
    }
}
