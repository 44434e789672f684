//! The statement that counts and records ends of attempts.

use std::collections::HashMap;
use std::sync::Arc;

use super::handle::AttemptError;
use super::lease::{End, Outcome};
use super::metrics::AttemptMetrics;
use super::store::Counters;
use super::waiters::Waiters;
use crate::actors::batcher::Statement;

/// Counts and records ends, and wakes the lines that wait for them.
pub(super) struct Resolve {
    pub(super) counters: Counters,
    pub(super) waiters: Arc<Waiters>,
    pub(super) metrics: Arc<AttemptMetrics>,
}

impl Statement for Resolve {
    type Key = End;
    type Value = ();
    type Error = AttemptError;

    /// Of one account, only ends that lock the same counters: every statement locks counters in the order of its keys,
    /// and two statements with different orders would wait for each other.
    fn fitting() -> impl FnMut(&End) -> bool {
        let mut locks = HashMap::new();
        move |end| {
            let own = (end.key.source, end.lease.map(|lease| lease.known));
            *locks.entry(end.key.subject).or_insert(own) == own
        }
    }

    async fn run(&self, mut ends: Vec<End>) -> Vec<Result<(), AttemptError>> {
        // Stable, so that the events of one account keep their order. All ends get one answer.
        ends.sort_by_key(|end| end.key);
        let resolved = self.counters.resolve(&ends).await;
        if let Ok(locks) = &resolved {
            self.metrics.locks.inc_by(*locks);
        }
        for end in ends.iter().filter(|end| end.outcome == Some(Outcome::Succeeded)) {
            self.waiters.add_known(end.key);
        }
        let mut subjects: Vec<_> = ends.iter().map(|end| end.key.subject).collect();
        subjects.dedup();
        self.waiters.wake(&subjects);
        let answer = resolved.map(drop).map_err(AttemptError::from);
        vec![answer; ends.len()]
    }
}
