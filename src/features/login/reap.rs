//! Deletes expired counters, and those beyond the bound.

use std::sync::Arc;
use std::time::Duration;

use super::metrics::AttemptMetrics;
use super::store::Counters;

/// How often counters are deleted.
pub(super) const EVERY: Duration = Duration::from_secs(30);
/// Counters that one statement deletes at most, because it locks them until it ends.
const AT_ONCE: i32 = 1_000;
/// Statements per run; the rest waits for the next one.
const STATEMENTS: usize = 1_000;

pub(super) async fn reap(counters: Counters, rows_max: i64, metrics: Arc<AttemptMetrics>) {
    for _ in 0..STATEMENTS {
        match counters.reap(AT_ONCE, rows_max).await {
            Ok(0) | Err(_) => return,
            Ok(reaped) => metrics.reaped.inc_by(reaped),
        }
    }
}
