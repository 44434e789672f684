//! Refusals in place of hyper's own answers.

use std::fmt::Write as _;

use hyper::StatusCode;
use hyper::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};

use crate::http::error::{Format, Refusal};
use crate::http::request_id::REQUEST_ID;
use crate::http::security;
use crate::http::service::Service;

/// The header of hyper's answers without a body.
const EMPTY: &[u8] = b"\r\ncontent-length: 0";

/// The refusal to send where `buf` is an answer of hyper's own: one whole head and nothing behind it. The caller makes
/// sure that `buf` is the beginning of an answer.
pub(super) fn instead_of(buf: &[u8]) -> Option<Refusal> {
    let head = buf.strip_suffix(b"\r\n\r\n").filter(|head| !head.windows(4).any(|part| part == b"\r\n\r\n"))?;
    if !head.windows(EMPTY.len()).any(|part| part.eq_ignore_ascii_case(EMPTY)) {
        return None;
    }
    let status = buf.strip_prefix(b"HTTP/1.1 ").or_else(|| buf.strip_prefix(b"HTTP/1.0 "))?.get(..3)?;
    let refusal = match status {
        b"400" => Refusal::MALFORMED_REQUEST,
        b"414" => Refusal::URI_TOO_LONG,
        b"431" => Refusal::HEADERS_TOO_LARGE,
        b"505" => Refusal::VERSION_NOT_SUPPORTED,
        _ => return None,
    };
    let has_id = buf.windows(REQUEST_ID.as_str().len()).any(|window| window == REQUEST_ID.as_str().as_bytes());
    (!has_id).then_some(refusal)
}

/// The whole answer to a client that speaks plain HTTP where HTTPS is spoken.
pub(in crate::http) fn not_tls(service: &Service) -> Vec<u8> {
    write(Refusal::NOT_TLS, service, None)
}

/// Writes the whole answer of `refusal`; counts and logs it.
pub(super) fn write(refusal: Refusal, service: &Service, transport_security: Option<&HeaderValue>) -> Vec<u8> {
    let status = refusal.status;
    service.metrics().requests.with_label_values(&["unknown", status.as_str()]).inc();
    let reply = refusal.into_reply(Format::Envelope);
    let id = service.next_id();
    // A line for each would let a client fill the disk; the metrics count each.
    tracing::debug!(status = status.as_u16(), request_id = id.to_str().unwrap_or_default(), "malformed request");
    let mut text = head(status, id.to_str().unwrap_or_default(), reply.body.len());
    if let Some(policy) = transport_security {
        let _ = write!(text, "{STRICT_TRANSPORT_SECURITY}: {}\r\n", policy.to_str().unwrap_or_default());
    }
    text.push_str("\r\n");
    let mut text = text.into_bytes();
    text.extend_from_slice(&reply.body);
    text
}

fn head(status: StatusCode, id: &str, length: usize) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{REQUEST_ID}: {id}\r\n\
         {}connection: close\r\n",
        security::lines()
    )
}
