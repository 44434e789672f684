//! Cross-origin resource sharing: whose pages may read the answers (the Fetch standard, section 3.3).
//!
//! An origin is compared with those of `cors.allowed_origins` byte by byte, and only then written back. There is no
//! credentials mode: the service knows no cookies, and a token in `Authorization` is a header that a page sets by itself.

use hyper::Method;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue,
    ORIGIN, VARY,
};
use hyper::http::request::Parts;

use super::router::Route;
use crate::config;
use crate::domain::origin::Origin;

/// Headers that pages may send.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type, x-request-id");
/// Headers that pages may read, beside those that every page may.
const ANSWER_HEADERS: HeaderValue =
    HeaderValue::from_static("ratelimit, ratelimit-policy, retry-after, www-authenticate, x-request-id");
const ANYBODY: HeaderValue = HeaderValue::from_static("*");

/// Who may read the answers.
#[derive(Debug)]
pub struct Cors {
    origins: Origins,
    max_age: HeaderValue,
}

#[derive(Debug)]
enum Origins {
    Nobody,
    Anybody,
    Listed(Vec<HeaderValue>),
}

/// The decision about one request.
#[derive(Debug, Clone)]
pub struct Sharing {
    /// Who may read the answer.
    reader: Option<HeaderValue>,
    /// Another origin would have got another answer.
    varies: bool,
    is_preflight: bool,
}

impl Cors {
    /// The policy that `[cors]` configures.
    #[must_use]
    pub fn new(config: &config::Cors) -> Self {
        let value = |origin: &Origin| HeaderValue::try_from(origin.as_str()).ok();
        let origins = match &config.allowed {
            config::Origins::Nobody => Origins::Nobody,
            config::Origins::Anybody => Origins::Anybody,
            config::Origins::Listed(origins) => Origins::Listed(origins.iter().filter_map(value).collect()),
        };
        Self { origins, max_age: HeaderValue::from(config.max_age.as_secs()) }
    }

    /// Decides about a request with this head.
    pub(super) fn sharing(&self, head: &Parts) -> Sharing {
        let origin = || head.headers.get(ORIGIN);
        let (reader, varies) = match &self.origins {
            Origins::Nobody => (None, false),
            // The same answer for every origin, so caches need no `Vary`.
            Origins::Anybody => (Some(ANYBODY), false),
            Origins::Listed(allowed) => (origin().filter(|origin| allowed.contains(origin)).cloned(), true),
        };
        let is_preflight = reader.is_some()
            && head.method == Method::OPTIONS
            && origin().is_some()
            && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        Sharing { reader, varies, is_preflight }
    }

    /// Adds the headers of the decision to an answer of `route`.
    pub(super) fn write(&self, sharing: Sharing, route: Option<&Route>, headers: &mut HeaderMap) {
        if sharing.varies {
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(reader) = sharing.reader else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, reader);
        match route.filter(|_| sharing.is_preflight) {
            Some(route) => {
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, route.allow.clone());
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
                headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
            }
            None => drop(headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS)),
        }
    }
}
