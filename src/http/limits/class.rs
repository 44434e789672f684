//! The kinds of requests that are limited apart from each other.

use hyper::Method;

use crate::http::router::Route;

/// What a request costs, and what abusing it is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Makes a user and costs a hash.
    Register,
    /// Tries a password and costs a hash.
    Login,
    /// Shows a token.
    Profile,
    /// The root, preflights, and what is not there.
    Other,
    /// A document, which may be a thousand times as long as the request for it.
    Docs,
}

impl Class {
    /// Every class, in the order of their declaration.
    pub const ALL: [Self; 5] = [Self::Register, Self::Login, Self::Profile, Self::Other, Self::Docs];

    /// The class of a request; what its route doesn't take costs nothing that the route would.
    #[must_use]
    pub fn of(route: Option<Route>, method: &Method) -> Self {
        match route.filter(|route| method != Method::OPTIONS && route.takes(method)) {
            Some(Route::Register) => Self::Register,
            Some(Route::Login) => Self::Login,
            Some(Route::Me) => Self::Profile,
            Some(Route::OpenApi | Route::Docs | Route::Redoc | Route::RedocScript) => Self::Docs,
            Some(Route::Root | Route::Jwks) | None => Self::Other,
        }
    }

    /// What headers and metrics call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Login => "login",
            Self::Profile => "profile",
            Self::Other => "other",
            Self::Docs => "docs",
        }
    }
}
