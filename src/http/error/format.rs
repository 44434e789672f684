//! A refusal as a client reads it: the service's own envelope, or RFC 9457.

use serde::Serialize;
use utoipa::ToSchema;

use super::Refusal;
use crate::http::reply::always_false;

/// How a refusal is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The service's own envelope.
    Envelope,
    /// RFC 9457.
    Problem,
}

/// A refusal as a client sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorReply {
    #[schema(schema_with = always_false)]
    success: bool,
    /// Human-readable message.
    message: &'static str,
    error: ErrorBody,
}

/// The error code, and the rules that were broken.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// Machine-readable error code.
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
    /// Human-readable message.
    detail: &'static str,
    /// Machine-readable error code.
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
