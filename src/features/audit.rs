//! The audit log: what happened to accounts, chained so that nobody can change it unseen.

mod actor;
pub mod chain;
pub mod handle;
mod hits;
pub mod store;

use std::sync::Arc;

use crate::database::Pool;

use super::Feature;
use crate::actors::Current;
use crate::config;
use crate::crypto::pseudonym::Pseudonyms;
use crate::database::lender::Lender;
use crate::telemetry::Metrics;
use actor::Sealer;
use chain::KINDS;
use handle::AuditHandle;
use hits::Hits;

/// Builds the handle, and the actor behind it.
pub(crate) fn build(
    pool: Pool,
    config: &config::Config,
    pseudonyms: &Arc<Pseudonyms>,
    metrics: &Arc<Metrics>,
) -> (AuditHandle, Feature) {
    for kind in KINDS {
        metrics.audit_sealed.with_label_values(&[kind]);
    }
    let actor = Current::vacant();
    let hits = Arc::new(Hits::new(config.audit.limit_window, metrics.audit_dropped.clone()));
    let handle = AuditHandle { actor: actor.clone(), hits: Arc::clone(&hits) };
    let sealer = Arc::new(Sealer {
        pool,
        lender: Lender::new(&config.database, metrics),
        hits,
        pseudonyms: Arc::clone(pseudonyms),
        metrics: Arc::clone(metrics),
        every: config.audit.seal_every,
        timeout: config.database.timeout,
    });
    (handle, Feature { children: vec![actor::child(actor, sealer)], ..Feature::default() })
}
