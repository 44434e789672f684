//! Refusals: every answer that is not a success, with its status, its code and its fixed words.
//!
//! Clients get fixed text; causes go to the log where they occur.

mod catalogue;
mod format;

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};

use super::bearer::BearerError;
use super::body::{BodyError, Broken, Violation};
use super::reply::Reply;

pub use format::{Detail, ErrorBody, ErrorReply, Format, Problem};

/// An answer that is not a success.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// Machine-readable code.
    pub code: &'static str,
    /// Human-readable message.
    pub message: &'static str,
    /// Broken rules, one by one.
    pub details: Vec<Violation>,
    /// How long to wait before a retry.
    pub retry_after: Option<Duration>,
    /// Methods that the path takes.
    pub allow: Option<HeaderValue>,
    /// The rest of the request has not been read, so the connection can't be used again.
    pub close: bool,
}

impl Refusal {
    const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message, details: Vec::new(), retry_after: None, allow: None, close: false }
    }

    /// The same, to be retried after `retry_after`.
    #[must_use]
    pub const fn after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    const fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// 405 with the methods that the path takes.
    #[must_use]
    pub fn method_not_allowed(allow: HeaderValue) -> Self {
        Self { allow: Some(allow), ..Self::METHOD_NOT_ALLOWED }
    }

    /// 429, to be retried after `retry_after`.
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
        let reply = match format {
            Format::Envelope => Reply::json(self.status, &ErrorReply::from(&self)),
            Format::Problem => Reply::json(self.status, &Problem::from(&self)),
        };
        let mut reply = reply.unwrap_or_else(|_| Reply::new(self.status, Vec::new()));
        if format == Format::Problem {
            reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        }
        if let Some(allow) = self.allow {
            reply.headers.insert(ALLOW, allow);
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
            BodyError::TooManyValues => Self::TOO_MANY_VALUES,
            BodyError::TooSlow => Self::REQUEST_TIMEOUT,
            BodyError::NotJsonType => Self::UNSUPPORTED_MEDIA_TYPE,
        }
    }
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        Self::invalid(broken.into())
    }
}

impl From<BearerError> for Refusal {
    fn from(error: BearerError) -> Self {
        match error {
            BearerError::Absent | BearerError::Malformed => Self::NOT_AUTHENTICATED,
        }
    }
}
