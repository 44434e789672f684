//! What every answer tells browsers, whoever made it, so that none of them is ever taken for more than it is.

use std::fmt::Write as _;
use std::sync::LazyLock;

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

use super::request_id::REQUEST_ID;

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

static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| COMMON.iter().cloned().collect());
/// No cache may keep JSON that does not say otherwise: it is about one person. The id is put in place with each answer.
static JSON_HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
    let own = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store"), (REQUEST_ID, "-")];
    let own = own.map(|(name, value)| (name, HeaderValue::from_static(value)));
    COMMON.iter().cloned().chain(own).collect()
});

/// What an answer begins with. A copy of what is there costs a third of putting it together.
pub(super) fn headers() -> HeaderMap {
    HEADERS.clone()
}

/// What an answer in JSON begins with.
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
