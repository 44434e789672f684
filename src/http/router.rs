//! Which path and method want what.

use hyper::Method;
use matchit::Router as Paths;

/// What a path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `/`
    Root,
    /// `/api/users/register`
    Register,
    /// `/api/users/login`
    Login,
    /// `/api/users/me`
    Me,
    /// `/.well-known/jwks.json`
    Jwks,
    /// `/openapi.json`
    OpenApi,
    /// `/docs` and what lies below
    Docs,
    /// `/redoc`
    Redoc,
    /// `/redoc/redoc.js`
    RedocScript,
}

/// Every route with its path; [`Route::path`] is what logs and metrics call it.
const ROUTES: [(&str, Route); 11] = [
    ("/", Route::Root),
    ("/api/users/register", Route::Register),
    ("/api/users/login", Route::Login),
    ("/api/users/me", Route::Me),
    ("/.well-known/jwks.json", Route::Jwks),
    ("/openapi.json", Route::OpenApi),
    ("/docs", Route::Docs),
    ("/docs/", Route::Docs),
    ("/docs/{file}", Route::Docs),
    ("/redoc", Route::Redoc),
    ("/redoc/redoc.js", Route::RedocScript),
];

impl Route {
    /// How many there are.
    pub const COUNT: usize = Self::RedocScript as usize + 1;

    /// The path, without what varies: it may be logged.
    #[must_use]
    pub fn path(self) -> &'static str {
        ROUTES.iter().find(|(_, route)| *route == self).map_or("", |(path, _)| path)
    }

    /// Whether it is for people to read, and nothing that a client needs.
    #[must_use]
    pub fn is_document(self) -> bool {
        matches!(self, Self::OpenApi | Self::Docs | Self::Redoc | Self::RedocScript)
    }

    /// The methods that it takes, as `Allow` has them.
    #[must_use]
    pub fn allow(self) -> &'static str {
        match self {
            Self::Register | Self::Login => "POST, OPTIONS",
            Self::Root | Self::Me | Self::Jwks | Self::OpenApi | Self::Docs | Self::Redoc | Self::RedocScript => {
                "GET, HEAD, OPTIONS"
            }
        }
    }

    /// Whether `method` is among those.
    #[must_use]
    pub fn takes(self, method: &Method) -> bool {
        match self {
            Self::Register | Self::Login => [Method::POST, Method::OPTIONS].contains(method),
            Self::Root | Self::Me | Self::Jwks | Self::OpenApi | Self::Docs | Self::Redoc | Self::RedocScript => {
                [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
            }
        }
    }
}

/// Finds the route of a path.
#[derive(Debug)]
pub struct Router(Paths<Route>);

impl Router {
    /// A router of all routes, or of those that are no documents.
    ///
    /// # Errors
    /// Where two of them are in conflict.
    pub fn new(with_documents: bool) -> Result<Self, matchit::InsertError> {
        let mut paths = Paths::new();
        for (path, route) in ROUTES.into_iter().filter(|(_, route)| with_documents || !route.is_document()) {
            paths.insert(path, route)?;
        }
        Ok(Self(paths))
    }

    /// The route of `path`.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Route> {
        self.0.at(path).ok().map(|found| *found.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_to_the_letter() {
        let router = Router::new(true).unwrap();
        assert_eq!(router.find("/api/users/me"), Some(Route::Me));
        assert_eq!(router.find("/docs/swagger-ui.css"), Some(Route::Docs));
        for path in ["", "*", "/api", "/api/users/me/", "/API/users/me", "/api/users/m%65", "//", "/docs/a/b"] {
            assert_eq!(router.find(path), None, "{path}");
        }
    }
    #[test]
    fn a_route_takes_what_it_allows() {
        for (path, route) in ROUTES {
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "GETS"] {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let is_allowed = route.allow().split(", ").any(|allowed| allowed == method.as_str());
                assert_eq!(route.takes(&method), is_allowed, "{method} {path}");
            }
        }
    }
}
