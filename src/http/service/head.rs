//! The head of a request, apart from its path: how long it is, whether it is well framed, which format refusals have.

use hyper::Method;
use hyper::header::{ACCEPT, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use hyper::http::uri::Authority;

use crate::http::error::Format;

/// Size of headers as HTTP/2 counts it (RFC 9113, section 6.5.2), but without the overhead of each field: so HTTP/1
/// requests, which hyper has bounded by then, are never over the limit.
pub(super) fn size_of(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// Whether the request names one host, and frames its body so that every proxy in front has read it alike (RFC 9112,
/// sections 3.2 and 6.1).
pub(super) fn is_well_framed(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().filter(|_| hosts.next().is_none());
    let has_host = host.is_some_and(|host| host.is_empty() || is_host(host));
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_plain = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    has_host && is_plain && codings.next().is_none()
}

/// Whether `host` is a name or an address, with or without a port, and without user information. Nearly all are plain
/// names, for which nothing is allocated.
fn is_host(host: &HeaderValue) -> bool {
    let bytes = host.as_bytes();
    let name = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')).count();
    let is_plain = match bytes.get(name..) {
        None | Some([]) => true,
        Some([b':', port @ ..]) => port.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    };
    is_plain || (!bytes.contains(&b'@') && Authority::try_from(bytes).is_ok())
}

pub(super) fn is_known(method: &Method) -> bool {
    [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
    ]
    .contains(method)
}

/// Problem details for clients that name them in `Accept`.
pub(super) fn format_of(headers: &HeaderMap) -> Format {
    let mut accepted =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    let asks = accepted.any(|media| {
        let mut parts = media.split(';').map(str::trim);
        let named = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/problem+json"));
        named && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    });
    if asks { Format::Problem } else { Format::Envelope }
}
