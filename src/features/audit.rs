//! The audit log: events of accounts and keys, chained so that every change to them shows.

mod actor;
pub mod chain;
pub mod cli;
pub mod handle;
mod metrics;
mod refusals;
pub mod store;

use std::sync::Arc;

use crate::database::migrations::Migration;

use super::{Feature, Kit, Manifest};
use crate::actors::Current;
use crate::telemetry::TelemetryError;
use actor::Sealer;
use handle::AuditHandle;
use metrics::AuditMetrics;
use refusals::Refusals;

/// Its constants.
pub(super) const MANIFEST: Manifest = Manifest {
    migrations: &[Migration {
        version: 2,
        name: "create_audit_events",
        sql: include_str!("../../sql/0002_create_audit_events.sql"),
        tables: &["audit_events", "audit_chain"],
    }],
    events: &["limit_hit", chain::pruning::KIND],
    checks: &[],
};

/// Builds the handle, and the actor behind it.
pub(crate) fn build(kit: &Kit<'_>) -> Result<(AuditHandle, Feature), TelemetryError> {
    let Kit { config, pool, pseudonyms, registry, .. } = kit;
    let metrics = AuditMetrics::register(registry)?;
    let actor = Current::vacant();
    let refusals = Arc::new(Refusals::new(config.audit.limit_window, metrics.dropped.clone()));
    let handle = AuditHandle { actor: actor.clone(), refusals: Arc::clone(&refusals) };
    let sealer = Arc::new(Sealer {
        pool: pool.clone(),
        refusals,
        pseudonyms: Arc::clone(pseudonyms),
        metrics,
        every: config.audit.seal_every,
        timeout: config.database.timeout,
    });
    Ok((handle, Feature { children: vec![actor::child(actor, sealer)], ..Feature::default() }))
}
