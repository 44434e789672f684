//! The security headers of every answer.

use std::fmt::Write as _;
use std::sync::LazyLock;

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

use super::request_id::REQUEST_ID;

/// Nothing in an answer is to be loaded, run or shown in a frame. The pages of the documents have a policy of their own.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Headers of every answer that does not set them itself. There is no cross-origin-opener-policy: no page here opens
/// another, and browsers complain of one that comes without TLS.
static COMMON: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CONTENT_SECURITY_POLICY, POLICY),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| COMMON.iter().cloned().collect());
/// By default no cache may keep JSON, because it is about one person. Each answer puts its own id in place.
static JSON_HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
    let own = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store"), (REQUEST_ID, "-")];
    let own = own.map(|(name, value)| (name, HeaderValue::from_static(value)));
    COMMON.iter().cloned().chain(own).collect()
});

/// The headers of a new answer. A copy costs a third of building the map.
pub(super) fn headers() -> HeaderMap {
    HEADERS.clone()
}

/// The headers of a new answer in JSON.
pub(super) fn json_headers() -> HeaderMap {
    JSON_HEADERS.clone()
}

/// The same as lines of HTTP/1.1, for the answers that are written without hyper.
pub(super) fn lines() -> String {
    COMMON.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a String can't fail.
        let _ = write!(text, "{name}: {}\r\n", value.to_str().unwrap_or_default());
        text
    })
}
