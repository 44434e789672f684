//! Deletes counters that mean nothing any more, and those beyond what may be kept.

use std::sync::Arc;
use std::time::Duration;

use super::metrics::AttemptMetrics;
use super::store::Counters;

/// How often such counters are looked for.
pub(super) const EVERY: Duration = Duration::from_secs(30);
/// Counters deleted by one statement at most, which holds them for as long as it takes.
const AT_ONCE: i32 = 1_000;
/// Statements one after the other: the rest can wait for the next time.
const STATEMENTS: usize = 1_000;

pub(super) async fn reap(counters: Counters, rows_max: i64, metrics: Arc<AttemptMetrics>) {
    for _ in 0..STATEMENTS {
        match counters.reap(AT_ONCE, rows_max).await {
            Ok(0) | Err(_) => return,
            Ok(reaped) => metrics.reaped.inc_by(reaped),
        }
    }
}
