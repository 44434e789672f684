//! The order of waiting jobs: logins before registrations, but never only logins; nobody's jobs not at all.

use std::collections::VecDeque;
use std::sync::Arc;

use ractor::factory::{DiscardHandler, DiscardReason, Job, queues::Queue};

use super::Class;
use super::pool::Msg;
use crate::telemetry::Metrics;

/// Logins that may pass a waiting registration before it gets its turn.
pub(super) const VERIFIES_PER_HASH: u32 = 3;

/// Two queues, of which the head of one is next.
pub(super) struct Waiting {
    verifies: VecDeque<Job<Class, Msg>>,
    hashes: VecDeque<Job<Class, Msg>>,
    /// Logins that have passed the first waiting registration.
    passed: u32,
    metrics: Arc<Metrics>,
}

impl Waiting {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        metrics.hash_queue_depth.set(0);
        Self { verifies: VecDeque::new(), hashes: VecDeque::new(), passed: 0, metrics }
    }

    fn next_class(&self) -> Class {
        let hash_is_due = self.passed >= VERIFIES_PER_HASH && !self.hashes.is_empty();
        if self.verifies.is_empty() || hash_is_due { Class::Hash } else { Class::Verify }
    }

    fn pop(&mut self) -> Option<Job<Class, Msg>> {
        let job = match self.next_class() {
            Class::Hash => {
                self.passed = 0;
                self.hashes.pop_front()
            }
            Class::Verify => {
                self.passed = if self.hashes.is_empty() { 0 } else { self.passed + 1 };
                self.verifies.pop_front()
            }
        };
        self.metrics.hash_queue_depth.set(i64::try_from(self.len()).unwrap_or(i64::MAX));
        job
    }
}

impl Queue<Class, Msg> for Waiting {
    fn len(&self) -> usize {
        self.verifies.len() + self.hashes.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next job that somebody still waits for.
    fn pop_front(&mut self) -> Option<Job<Class, Msg>> {
        loop {
            let job = self.pop()?;
            if !job.msg.is_abandoned() {
                return Some(job);
            }
            self.metrics.hash_abandoned.inc();
        }
    }

    fn discard_oldest(&mut self) -> Option<Job<Class, Msg>> {
        self.pop()
    }

    fn peek(&self) -> Option<&Job<Class, Msg>> {
        match self.next_class() {
            Class::Hash => self.hashes.front(),
            Class::Verify => self.verifies.front(),
        }
    }

    fn push_back(&mut self, job: Job<Class, Msg>) {
        match job.key {
            Class::Hash => self.hashes.push_back(job),
            Class::Verify => self.verifies.push_back(job),
        }
        self.metrics.hash_queue_depth.set(i64::try_from(self.len()).unwrap_or(i64::MAX));
    }

    fn remove_expired_items(&mut self, handler: &Option<Arc<dyn DiscardHandler<Class, Msg>>>) -> usize {
        let before = self.len();
        for queue in [&mut self.verifies, &mut self.hashes] {
            queue.retain_mut(|job| {
                let expired = job.is_expired();
                if expired && let Some(handler) = handler {
                    handler.discard(DiscardReason::TtlExpired, job);
                }
                !expired
            });
        }
        self.metrics.hash_queue_depth.set(i64::try_from(self.len()).unwrap_or(i64::MAX));
        before - self.len()
    }
}
