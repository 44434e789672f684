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
use crate::database::migrations::{Migration, Schema};
use crate::http::endpoint::Endpoint;
use crate::http::error::Refusal;

/// What a capability is before anything of it is built: constants of its folder.
#[derive(Debug)]
pub struct Manifest {
    /// Its steps of the schema. All features' steps are merged by their numbers.
    pub migrations: &'static [Migration],
    /// Kinds of audit events that it writes.
    pub events: &'static [&'static str],
}

/// Every capability's.
const MANIFESTS: [&Manifest; 4] = [&accounts::MANIFEST, &login::MANIFEST, &tokens::MANIFEST, &audit::MANIFEST];

/// The schema that all of them need.
#[must_use]
pub fn schema() -> Schema {
    Schema::new(MANIFESTS.iter().flat_map(|manifest| manifest.migrations))
}

/// Kinds of audit events that any of them writes.
pub fn event_kinds() -> impl Iterator<Item = &'static str> {
    MANIFESTS.iter().flat_map(|manifest| manifest.events).copied()
}

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
