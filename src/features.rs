//! The capabilities, a folder each, with the same file names in all of them.
//!
//! A feature is built from the rooms below and from the handles of other features, which [`crate::app::features`] passes to it.
//! It gives its own handle and a [`Feature`]: what there is to start and to serve.

pub mod accounts;
pub mod audit;
pub mod login;
pub mod passwords;
pub mod status;
pub mod tokens;

use crate::actors::{CallError, Child};
use crate::http::endpoint::Endpoint;
use crate::http::error::Refusal;

/// What a capability brings beside its handle.
#[derive(Debug, Default)]
pub struct Feature {
    /// What clients may ask of it.
    pub endpoints: Vec<Endpoint>,
    /// The actors to start, and to start again.
    pub children: Vec<Child>,
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Gone | CallError::TimedOut => Self::UNAVAILABLE,
        }
    }
}
