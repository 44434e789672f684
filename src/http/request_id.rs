//! The id that ties an answer to its line in the log: the client's own, or a new one.

use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header that ties an answer to its line in the log.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that a client may choose: tokens are longer, so none lands in the log by mistake.
const REQUEST_ID_MAX: usize = 64;

/// Ids that are unique, also across processes: random bits of the process and a count, sixteen digits each.
#[derive(Debug)]
pub(super) struct RequestIds {
    process: u64,
    count: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        Self { process: Uuid::new_v4().as_u64_pair().0, count: AtomicU64::new(0) }
    }
}

impl RequestIds {
    /// A new one.
    pub(super) fn next(&self) -> HeaderValue {
        let id = Uuid::from_u64_pair(self.process, self.count.fetch_add(1, Ordering::Relaxed)).simple();
        HeaderValue::from_str(id.encode_lower(&mut Uuid::encode_buffer())).unwrap_or(HeaderValue::from_static("-"))
    }

    /// The client's own id, where it is short and plain; else a new one.
    pub(super) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let is_plain = |id: &&HeaderValue| {
            let bytes = id.as_bytes();
            let plain = |c: &u8| c.is_ascii_alphanumeric() || b"-_.".contains(c);
            !bytes.is_empty() && bytes.len() <= REQUEST_ID_MAX && bytes.iter().all(plain)
        };
        headers.get(REQUEST_ID).filter(is_plain).cloned().unwrap_or_else(|| self.next())
    }
}
