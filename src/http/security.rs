//! What every answer tells browsers, whoever made it, so that none of them is ever taken for more than it is.

use std::fmt::Write as _;

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

/// How many headers an answer has room for from the start: more than any has.
pub(super) const HEADERS: usize = 24;
/// Nothing in an answer is to be loaded, run or shown in a frame. The pages of the documents have a policy of their own.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// What every answer carries, but for a header that it has set itself. There is no cross-origin-opener-policy: no page here
/// opens another, and browsers complain of one that comes without TLS.
static COMMON: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CONTENT_SECURITY_POLICY, POLICY),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Adds what every answer carries.
pub(super) fn protect(headers: &mut HeaderMap) {
    for (name, value) in &COMMON {
        headers.entry(name).or_insert_with(|| value.clone());
    }
}

/// Forbids every cache to keep an answer: it is about one person.
pub(super) fn forbid_storing(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// The same as lines of HTTP/1.1, for the answers that are written without hyper.
pub(super) fn lines() -> String {
    COMMON.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a String can't fail.
        let _ = write!(text, "{name}: {}\r\n", value.to_str().unwrap_or_default());
        text
    })
}
