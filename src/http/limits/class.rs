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
    /// The root, the documents, preflights, and what is not there.
    Other,
}

impl Class {
    /// Every class, in the order of their declaration.
    pub const ALL: [Self; 4] = [Self::Register, Self::Login, Self::Profile, Self::Other];

    /// The class of a request; what its route doesn't take costs nothing that the route would.
    #[must_use]
    pub fn of(route: Option<Route>, method: &Method) -> Self {
        match route.filter(|route| method != Method::OPTIONS && route.takes(method)) {
            Some(Route::Register) => Self::Register,
            Some(Route::Login) => Self::Login,
            Some(Route::Me) => Self::Profile,
            Some(Route::Root | Route::OpenApi | Route::Docs | Route::Redoc | Route::RedocScript | Route::Jwks)
            | None => Self::Other,
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
        }
    }
}
