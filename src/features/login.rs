//! Logging in: how often somebody may try, and what the right password gives.

mod actor;
pub mod api;
mod batches;
pub mod handle;
mod known;
mod lease;
mod lines;
mod locked;
mod metrics;
mod policy;
mod queue;
mod store;

use std::sync::Arc;

use crate::database::migrations::Migration;
use crate::database::{Pool, StatementMetrics};

use super::{Feature, Manifest};
use crate::actors::Current;
use crate::config::Config;
use crate::crypto::pseudonym::Pseudonyms;
use crate::database::statements::Statements;
use crate::hashing::COMPUTE_TIMEOUT;
use crate::telemetry::{Registry, TelemetryError};
use batches::Batches;
use handle::{AttemptsHandle, GRACE};
use known::Known;
use metrics::AttemptMetrics;
use policy::Rules;

/// What it is.
pub(super) const MANIFEST: Manifest = Manifest {
    migrations: &[
        Migration {
            version: 3,
            name: "create_login_attempts",
            sql: include_str!("../../sql/0003_create_login_attempts.sql"),
            tables: &["login_attempts"],
        },
        Migration {
            version: 5,
            name: "bound_login_attempts",
            sql: include_str!("../../sql/0005_bound_login_attempts.sql"),
            tables: &[],
        },
        Migration {
            version: 6,
            name: "hold_login_attempts",
            sql: include_str!("../../sql/0006_hold_login_attempts.sql"),
            tables: &[],
        },
    ],
    events: &["login_succeeded", "login_failed", "login_locked"],
    checks: &[],
};

/// Builds the handle, and the actor behind it.
pub(crate) fn build(
    pool: Pool,
    config: &Config,
    pseudonyms: Arc<Pseudonyms>,
    (registry, statements): (&Registry, &StatementMetrics),
) -> Result<(AttemptsHandle, Feature), TelemetryError> {
    let Config { limits, database, .. } = config;
    let handle = AttemptsHandle {
        actor: Current::vacant(),
        pseudonyms,
        known: Known::default(),
        enabled: limits.enabled,
        max_wait: config.hashing.max_wait,
        timeout: database.timeout + GRACE,
    };
    // Longer than anything between an attempt's two statements may take, and both of them.
    let lease = handle.max_wait + COMPUTE_TIMEOUT + 2 * handle.timeout;
    let batches = Arc::new(Batches {
        pool,
        statements: Statements::new(database, statements),
        rules: Rules::new(limits, lease),
        rows_max: limits.attempts_max,
        metrics: AttemptMetrics::register(registry)?,
        handle: handle.clone(),
    });
    let child = actor::child(handle.actor.clone(), database.batch_max, batches);
    Ok((handle, Feature { children: vec![child], ..Feature::default() }))
}
