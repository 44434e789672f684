//! Accounts: who has one, and what is known of them.

mod actor;
pub mod api;
mod batches;
pub mod handle;
mod inbox;
mod store;
pub mod types;

use std::sync::Arc;

use crate::database::Pool;

use super::Feature;
use crate::actors::Current;
use crate::config;
use crate::crypto::pseudonym::Pseudonyms;
use crate::database::statements::Statements;
use crate::telemetry::Metrics;
use batches::Batches;
use handle::{GRACE, UserHandle};
use inbox::Lookups;

/// Builds the handle, and the actor behind it.
pub(crate) fn build(
    pool: Pool,
    config: &config::Database,
    pseudonyms: &Arc<Pseudonyms>,
    metrics: &Arc<Metrics>,
) -> (UserHandle, Feature) {
    let actor = Current::vacant();
    let timeout = config.timeout + GRACE;
    let lookups = Arc::new(Lookups::new(timeout));
    let pseudonyms = Arc::clone(pseudonyms);
    let handle = UserHandle { actor: actor.clone(), lookups: Arc::clone(&lookups), timeout, pseudonyms };
    let batches = Arc::new(Batches { pool, statements: Statements::new(config, metrics) });
    let child = actor::child(actor, config.clone(), batches, lookups);
    (handle, Feature { children: vec![child], ..Feature::default() })
}
