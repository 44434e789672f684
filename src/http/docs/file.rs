//! One file of the documents, plain and compressed, with entity tags.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, HeaderMap, HeaderValue, VARY,
};

use crate::http::error::Refusal;
use crate::http::etag;
use crate::http::reply::Reply;

/// Own scripts only; styles that the pages set on their elements; ReDoc's search runs in a worker made from a blob.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src blob:; base-uri 'self'; \
     frame-ancestors 'none'",
);
/// Clients ask each time, because another version of the service may change a file; most get 304.
const CACHING: HeaderValue = HeaderValue::from_static("public, no-cache");

/// A file in both of its forms, each with a tag of its own (RFC 9110, section 8.8.3).
#[derive(Debug)]
pub(super) struct File {
    content_type: &'static str,
    plain: (Bytes, String),
    gzip: (Bytes, String),
}

impl File {
    /// Compresses `body`.
    pub(super) fn new(content_type: &'static str, body: impl Into<Bytes>) -> Result<Self, Refusal> {
        let body = body.into();
        let gzip = compress(&body).map_err(|error| {
            tracing::error!(%error, "a document cannot be compressed");
            Refusal::INTERNAL
        })?;
        let tagged = |bytes: Bytes| {
            let tag = etag::of(&bytes);
            (bytes, tag)
        };
        Ok(Self { content_type, plain: tagged(body), gzip: tagged(gzip.into()) })
    }

    /// The answer to a request with these headers.
    pub(super) fn answer(&self, headers: &HeaderMap) -> Result<Reply, Refusal> {
        let is_compressed = takes_gzip(headers);
        let (body, tag) = if is_compressed { &self.gzip } else { &self.plain };
        let mut reply = if etag::is_among(tag, headers) {
            Reply::new(StatusCode::NOT_MODIFIED, Bytes::new())
        } else {
            let mut reply = Reply::of_type(StatusCode::OK, self.content_type, body.clone());
            if is_compressed {
                reply.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            reply
        };
        if self.content_type != "application/json" {
            reply.headers.insert(CONTENT_SECURITY_POLICY, POLICY);
        }
        reply.headers.insert(CACHE_CONTROL, CACHING);
        reply.headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        // A tag is ASCII, so this does not fail.
        reply.headers.insert(ETAG, HeaderValue::try_from(tag).map_err(|_| Refusal::INTERNAL)?);
        Ok(reply)
    }
}

fn compress(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body)?;
    encoder.finish()
}

/// Whether the client names gzip, or any encoding, with a weight other than 0 (RFC 9110, section 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
    let (mut gzip, mut any) = (None, None);
    for coding in lists.flat_map(|list| list.split(',')) {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = parameters.trim().strip_prefix("q=").map_or(Some(1.0), |weight| weight.parse::<f32>().ok());
        let takes = weight.is_some_and(|weight| weight > 0.0);
        match name.trim() {
            "*" => any = Some(takes),
            name if name.eq_ignore_ascii_case("gzip") => gzip = Some(takes),
            _ => {}
        }
    }
    gzip.or(any).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_goes_to_those_who_take_it() {
        for (accepted, takes) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("*", true),
            ("", false),
            ("br", false),
            ("gzip;q=0", false),
            ("gzip; q=0.000, *", false),
            ("*;q=0", false),
            ("gzip;q=x", false),
            ("gzipped", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
            assert_eq!(takes_gzip(&headers), takes, "{accepted}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
