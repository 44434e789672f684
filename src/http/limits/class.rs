//! The kinds of requests that are limited apart from each other.

/// A kind of requests: by what one costs, and what abusing it is good for. Its rate is that of `limits.NAME_per_minute` or
/// `limits.NAME_per_second`, and `limits.NAME_burst`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// What the configuration, headers and metrics call it.
    pub name: &'static str,
}

impl Class {
    /// What is not there, preflights, and what costs next to nothing.
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
