//! What the service talks about: parsed types, plain Rust, no I/O.
//!
//! A value of one of these types has passed its rules; nobody checks it again.

pub mod audit;
pub mod claims;
pub mod email;
pub mod encryption;
pub mod invisible;
pub mod name;
pub mod network;
pub mod origin;
pub mod password;
pub mod pseudonym;
pub mod signing_key;
pub mod timestamp;
pub mod user;

/// One broken rule of a request body, as the client is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The JSON key at fault.
    pub field: &'static str,
    /// The rule, as a sentence without its subject.
    pub message: String,
}

impl Violation {
    /// A violation of `field` that `error` describes.
    pub fn new(field: &'static str, error: impl std::fmt::Display) -> Self {
        Self { field, message: error.to_string() }
    }
}
