//! Entity tags, by which a client that has the current content gets 304 (RFC 9110, section 13.1).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{HeaderMap, IF_NONE_MATCH};

/// The tag of `body`, in its quotes.
pub(crate) fn of(body: &[u8]) -> String {
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest(&SHA256, body)))
}

/// Whether `If-None-Match` names `tag`. A weak tag matches as a strong one does (RFC 9110, section 13.1.2).
pub(crate) fn is_among(tag: &str, headers: &HeaderMap) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given) == tag)
}
