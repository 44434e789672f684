//! A broken rule of a request body.

/// One broken rule of a request body, as the client sees it.
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
