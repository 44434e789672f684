//! Which endpoint a path and a method lead to.

use hyper::Method;
use hyper::header::HeaderValue;
use matchit::Router as Paths;
use thiserror::Error;

use super::endpoint::Endpoint;
use super::limits::Limits;
use super::limits::class::Class;
use crate::config::Rates;

/// Finds endpoints.
#[derive(Debug)]
pub struct Router {
    paths: Paths<Route>,
    endpoints: Vec<Endpoint>,
    /// The limit of each endpoint, where there is one, and that of all other requests.
    limits: Vec<Option<usize>>,
    other: Option<usize>,
}

/// A path with all its endpoints.
#[derive(Debug)]
pub(super) struct Route {
    /// Its name in metrics and logs, with parameters in braces: their values may be anything.
    pub(super) label: &'static str,
    /// The index of its series of metrics.
    pub(super) series: usize,
    /// The methods that it takes, as `Allow` has them.
    pub(super) allow: HeaderValue,
    endpoints: Vec<usize>,
}

/// Why endpoints make no router: a programming error.
#[derive(Debug, Error)]
pub enum RouterError {
    /// Two paths that match the same request.
    #[error("{0}")]
    Paths(#[from] matchit::InsertError),
    /// Two endpoints with one path and method.
    #[error("two endpoints for {0} {1}")]
    Twice(Method, &'static str),
    /// A class of limits without keys in the configuration.
    #[error("the configuration has no rate for {0}, the class of {1}")]
    NoRate(&'static str, &'static str),
    /// A method that is not valid in a header.
    #[error("{0}")]
    Method(#[from] hyper::header::InvalidHeaderValue),
}

/// The path and the endpoint of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    /// Its path, where there is one.
    pub(super) route: Option<&'a Route>,
    /// The endpoint, where the path takes the method.
    pub(super) endpoint: Option<&'a Endpoint>,
    /// The limit that it counts for: the endpoint's, or that of all other requests.
    pub(super) limit: Option<usize>,
}

impl Router {
    /// A router of these endpoints, limited by `limits`.
    ///
    /// # Errors
    /// [`RouterError`].
    pub fn new(endpoints: Vec<Endpoint>, limits: &Limits) -> Result<Self, RouterError> {
        let mut routes: Vec<(&'static str, Route)> = Vec::new();
        for (at, endpoint) in endpoints.iter().enumerate() {
            let series = routes.iter().position(|(_, route)| route.label == endpoint.label).unwrap_or(routes.len());
            if let Some((path, route)) = routes.iter_mut().find(|(path, _)| *path == endpoint.path) {
                let mut others = route.endpoints.iter().filter_map(|at| endpoints.get(*at));
                if others.any(|other| other.method == endpoint.method) {
                    return Err(RouterError::Twice(endpoint.method.clone(), path));
                }
                route.endpoints.push(at);
            } else {
                let allow = HeaderValue::from_static("");
                let route = Route { label: endpoint.label, series, allow, endpoints: vec![at] };
                routes.push((endpoint.path, route));
            }
        }
        let mut paths = Paths::new();
        for (path, mut route) in routes {
            let methods = route.endpoints.iter().filter_map(|at| endpoints.get(*at)).map(|endpoint| &endpoint.method);
            route.allow = allow(methods)?;
            paths.insert(path, route)?;
        }
        // Without keys a class would have no limit, and nothing would say so.
        if let Some(endpoint) = endpoints.iter().find(|endpoint| !Rates::has_keys_for(endpoint.class.name)) {
            return Err(RouterError::NoRate(endpoint.class.name, endpoint.path));
        }
        let of_class = |class| limits.position(class);
        let limits = endpoints.iter().map(|endpoint| of_class(endpoint.class)).collect();
        Ok(Self { paths, endpoints, limits, other: of_class(Class::OTHER) })
    }

    /// Number of series of metrics that routes have at most.
    pub(super) fn series(&self) -> usize {
        self.endpoints.len()
    }

    /// What `method` on `path` leads to.
    pub(super) fn find(&self, method: &Method, path: &str) -> Found<'_> {
        let route = self.paths.at(path).ok().map(|found| found.value);
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        let at = route.and_then(|route| {
            route.endpoints.iter().copied().find(|at| self.endpoints.get(*at).is_some_and(|e| e.method == *wanted))
        });
        let limit = at.map_or(self.other, |at| self.limits.get(at).copied().flatten());
        Found { route, endpoint: at.and_then(|at| self.endpoints.get(at)), limit }
    }

    /// The parameters in `path`, not decoded.
    pub(super) fn parameters(&self, path: &str) -> Vec<(String, String)> {
        let Ok(found) = self.paths.at(path) else { return Vec::new() };
        found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// `GET, HEAD, OPTIONS`
fn allow<'a>(methods: impl Iterator<Item = &'a Method>) -> Result<HeaderValue, RouterError> {
    let mut text = String::new();
    for method in methods {
        text += method.as_str();
        text += if method == Method::GET { ", HEAD, " } else { ", " };
    }
    Ok(HeaderValue::try_from(text + "OPTIONS")?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyper::StatusCode;
    use hyper::body::Bytes;

    use super::*;
    use crate::config::Config;
    use crate::crypto::pseudonym::Pseudonyms;
    use crate::http::endpoint::{self, Call};
    use crate::http::error::Refusal;
    use crate::http::limits::metrics::LimitMetrics;
    use crate::http::reply::Reply;
    use crate::telemetry::Registry;

    async fn nothing(_: Arc<()>, _: Call) -> Result<Reply, Refusal> {
        Ok(Reply::new(StatusCode::NO_CONTENT, Bytes::new()))
    }

    fn router(endpoints: Vec<Endpoint>) -> Result<Router, RouterError> {
        let config = Config::with(&[]).unwrap();
        let pseudonyms = Arc::new(Pseudonyms::new(b"", config.audit.emails, config.audit.addresses));
        let metrics = LimitMetrics::register(&Registry::new().unwrap()).unwrap();
        Router::new(endpoints, &Limits::new(&config.limits, pseudonyms, metrics).unwrap())
    }

    fn things() -> Router {
        let other = Class::OTHER;
        router(vec![
            endpoint::get("/things", other).handle((), nothing),
            endpoint::post("/things", other).handle((), nothing),
            endpoint::get("/things/{id}", other).handle((), nothing),
            endpoint::delete("/things/{id}", other).handle((), nothing),
            endpoint::get("/things/all", other).handle((), nothing),
        ])
        .unwrap()
    }

    #[test]
    fn a_path_has_an_endpoint_for_each_method() {
        let router = things();
        let find = |method, path| router.find(&method, path).endpoint.map(|found| (found.method.clone(), found.path));
        assert_eq!(find(Method::GET, "/things"), Some((Method::GET, "/things")));
        assert_eq!(find(Method::HEAD, "/things"), Some((Method::GET, "/things")));
        assert_eq!(find(Method::POST, "/things"), Some((Method::POST, "/things")));
        assert_eq!(find(Method::DELETE, "/things"), None);
        assert_eq!(find(Method::OPTIONS, "/things"), None, "that is the router's");
        assert_eq!(find(Method::DELETE, "/things/7"), Some((Method::DELETE, "/things/{id}")));
        assert_eq!(find(Method::GET, "/things/all"), Some((Method::GET, "/things/all")));
        let allow = |path| router.find(&Method::PUT, path).route.map(|route| route.allow.clone());
        assert_eq!(allow("/things").unwrap(), "GET, HEAD, POST, OPTIONS");
        assert_eq!(allow("/things/7").unwrap(), "GET, HEAD, DELETE, OPTIONS");
    }

    #[test]
    fn paths_are_found_to_the_letter() {
        let router = things();
        for path in ["", "*", "/", "/things/", "/Things", "/thing%73", "//", "/things/7/8"] {
            assert!(router.find(&Method::GET, path).route.is_none(), "{path}");
        }
    }

    #[test]
    fn parameters_are_as_they_are_written() {
        let router = things();
        assert_eq!(router.parameters("/things/a%20b"), [("id".to_owned(), "a%20b".to_owned())]);
        assert_eq!(router.parameters("/things"), []);
    }

    #[test]
    fn two_of_one_path_and_method_are_a_mistake() {
        let one = || endpoint::get("/a", Class::OTHER).handle((), nothing);
        assert!(matches!(router(vec![one(), one()]), Err(RouterError::Twice(..))));
        let other = endpoint::get("/{b}", Class::OTHER).handle((), nothing);
        let clash = endpoint::get("/{c}", Class::OTHER).handle((), nothing);
        assert!(matches!(router(vec![other, clash]), Err(RouterError::Paths(_))));
    }

    #[test]
    fn a_class_without_a_rate_is_a_mistake() {
        let unlimited = endpoint::get("/a", Class { name: "profle" }).handle((), nothing);
        assert!(matches!(router(vec![unlimited]), Err(RouterError::NoRate("profle", "/a"))));
    }
}
