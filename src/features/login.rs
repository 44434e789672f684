//! Logins: which attempts are admitted, and the token for the right password.
//!
//! A login reserves an attempt before its password is checked and resolves it after. PostgreSQL holds the counters, so
//! that all replicas agree; policy.rs admits an attempt only if it and all that are under way could fail without
//! passing a limit. If only attempts under way stand in its way, these may still succeed, so the login waits for one to
//! end: on this replica it is woken, for other replicas it asks again.
//!
//! The attempts actor owns permits and turns. Ends gather in an inbox, logins in lines; both beside the actor, where
//! its successor finds them. An end that gets no statement within `database.timeout_ms` and a moment is dropped: its lease
//! counts until it expires.

pub mod api;
pub mod handle;
mod known;
mod lease;
mod lines;
mod locked;
mod metrics;
mod policy;
mod reap;
mod reserve;
mod resolve;
mod store;
mod waiters;

use std::sync::Arc;

use crate::database::migrations::Migration;

use super::{Feature, Kit, Manifest};
use crate::actors::batcher::Plan;
use crate::config::Config;
use crate::features::accounts::handle::UserHandle;
use crate::features::passwords::handle::HasherHandle;
use crate::features::tokens::handle::TokenHandle;
use crate::hashing::COMPUTE_TIMEOUT;
use crate::telemetry::TelemetryError;
use handle::{AttemptsHandle, GRACE};
use metrics::AttemptMetrics;
use policy::Rules;
use reserve::Reserve;
use resolve::Resolve;
use store::Counters;
use waiters::Waiters;

/// Statements of each kind that may run at once: while they run, requests gather.
const STATEMENTS: usize = 2;

/// Its constants.
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
    kit: &Kit<'_>,
    users: &UserHandle,
    hasher: &HasherHandle,
    tokens: &TokenHandle,
) -> Result<(AttemptsHandle, Feature), TelemetryError> {
    let metrics = Arc::new(AttemptMetrics::register(&kit.registry)?);
    let Config { limits, database, hashing, .. } = kit.config;
    let (max_wait, timeout) = (hashing.max_wait, database.timeout + GRACE);
    // Longer than an attempt's two statements and all between them may take.
    let lease = max_wait + COMPUTE_TIMEOUT + 2 * timeout;
    let (pool, statements) = (kit.pool.clone(), kit.statements.clone());
    let counters = Counters { pool, statements, rules: Rules::new(limits, lease) };
    let mut plan = Plan::new(database.batch_max, timeout).group(STATEMENTS);
    let waiters = Arc::new(Waiters::new(plan.notifier(), Arc::clone(&metrics)));
    let resolve = Resolve { counters: counters.clone(), waiters: Arc::clone(&waiters), metrics: Arc::clone(&metrics) };
    let ends = plan.add(resolve);
    let mut plan = plan.group(STATEMENTS);
    plan.add_gathering(Arc::new(Reserve {
        counters: counters.clone(),
        waiters: Arc::clone(&waiters),
        ends: ends.clone(),
        metrics: Arc::clone(&metrics),
    }));
    let rows_max = limits.attempts_max;
    plan.every(reap::EVERY, move || Box::pin(reap::reap(counters.clone(), rows_max, Arc::clone(&metrics))));
    let pseudonyms = Arc::clone(&kit.pseudonyms);
    let handle = AttemptsHandle { waiters, ends, pseudonyms, enabled: limits.enabled, max_wait, timeout };
    let endpoints = api::endpoints(&handle, users, hasher, tokens);
    Ok((handle, Feature { endpoints, children: vec![plan.child("attempts")], ..Feature::default() }))
}
