//! The kinds of requests that are limited apart from each other.

/// A kind of requests with rate limits of its own. Its rate is that of `limits.NAME_per_minute` or
/// `limits.NAME_per_second`, and `limits.NAME_burst`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// Its name in the configuration, headers and metrics.
    pub name: &'static str,
}

impl Class {
    /// Unknown paths, preflights, and requests that cost next to nothing.
    pub const OTHER: Self = Self { name: "other" };
    /// Documents, which may be a thousand times as long as the request for one.
    pub const DOCS: Self = Self { name: "docs" };
    /// Requests that show a token.
    pub const PROFILE: Self = Self { name: "profile" };
    /// Requests that make an account, and cost a hash.
    pub const REGISTER: Self = Self { name: "register" };
    /// Requests that try a password, and cost a hash.
    pub const LOGIN: Self = Self { name: "login" };
}
