//! All refusals, each with its status, its code and its message.

use std::time::Duration;

use hyper::StatusCode;

use super::Refusal;

/// Most outages and restarts are over by then.
const RETRY_AFTER_OUTAGE: Duration = Duration::from_secs(1);

impl Refusal {
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
    /// 413: the body has more than [`MAX_VALUES`](crate::http::body::MAX_VALUES) values.
    pub const TOO_MANY_VALUES: Self =
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many_values", "The body has more than 1000 values");
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
    /// 400: a request to the redirect that names no host, or not a valid one.
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
    /// 429: too many failed logins, whether or not there is such an account.
    pub const TOO_MANY_ATTEMPTS: Self =
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", "Too many login attempts; try again later")
            .after(RETRY_AFTER_OUTAGE);
    /// 500.
    pub const INTERNAL: Self = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "Internal server error");
    /// 503: too many requests are inside, or wait for a password check.
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
}
