//! The order of waiting jobs. Logins go before registrations, but a registration goes after three logins at the latest.
//! Logins from known networks and from strangers go in turn, so that a storm of strangers hardly delays the others.
//! Jobs whose caller has left are dropped.

use std::collections::VecDeque;
use std::sync::Arc;

use ractor::factory::{DiscardHandler, DiscardReason, Job, queues::Queue};

use super::handle::Class;
use super::metrics::HashMetrics;
use super::pool::Msg;

/// Logins that may pass a waiting registration before it gets its turn.
pub(super) const VERIFIES_PER_HASH: u32 = 3;

/// Three queues; the head of one of them is next.
pub(super) struct Waiting {
    known: VecDeque<Job<Class, Msg>>,
    strangers: VecDeque<Job<Class, Msg>>,
    hashes: VecDeque<Job<Class, Msg>>,
    /// Logins that have passed the first waiting registration.
    passed: u32,
    /// Whether a stranger's login is next where both kinds wait, because the last one was not.
    is_strangers_turn: bool,
    metrics: Arc<HashMetrics>,
}

impl Waiting {
    pub(super) fn new(metrics: Arc<HashMetrics>) -> Self {
        metrics.queue_depth.set(0);
        let (known, strangers, hashes) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        Self { known, strangers, hashes, passed: 0, is_strangers_turn: false, metrics }
    }

    fn next_class(&self) -> Class {
        let hash_is_due = self.passed >= VERIFIES_PER_HASH && !self.hashes.is_empty();
        match (self.known.is_empty(), self.strangers.is_empty()) {
            (true, true) => Class::Hash,
            _ if hash_is_due => Class::Hash,
            (true, false) => Class::Stranger,
            (false, false) if self.is_strangers_turn => Class::Stranger,
            (false, _) => Class::Known,
        }
    }

    fn pop(&mut self) -> Option<Job<Class, Msg>> {
        let class = self.next_class();
        if class == Class::Hash || self.hashes.is_empty() {
            self.passed = 0;
        } else {
            self.passed += 1;
        }
        if class != Class::Hash {
            self.is_strangers_turn = class == Class::Known;
        }
        let job = self.queue(class).pop_front();
        self.metrics.queue_depth.set(i64::try_from(self.len()).unwrap_or(i64::MAX));
        job
    }

    /// Drops abandoned jobs at the front before a class is chosen. One that is late, too, stays: the factory has seen
    /// that it is late, and discards the next job that it gets.
    fn drop_abandoned(&mut self) {
        for class in [Class::Known, Class::Stranger, Class::Hash] {
            while self.queue(class).front().is_some_and(|job| job.msg.is_abandoned() && !job.is_expired()) {
                self.queue(class).pop_front();
                self.metrics.abandoned.inc();
            }
        }
    }

    fn queue(&mut self, class: Class) -> &mut VecDeque<Job<Class, Msg>> {
        match class {
            Class::Known => &mut self.known,
            Class::Stranger => &mut self.strangers,
            Class::Hash => &mut self.hashes,
        }
    }
}

impl Queue<Class, Msg> for Waiting {
    fn len(&self) -> usize {
        self.known.len() + self.strangers.len() + self.hashes.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next job whose caller still waits.
    fn pop_front(&mut self) -> Option<Job<Class, Msg>> {
        self.drop_abandoned();
        self.pop()
    }

    fn discard_oldest(&mut self) -> Option<Job<Class, Msg>> {
        self.pop()
    }

    fn peek(&self) -> Option<&Job<Class, Msg>> {
        match self.next_class() {
            Class::Hash => self.hashes.front(),
            Class::Known => self.known.front(),
            Class::Stranger => self.strangers.front(),
        }
    }

    fn push_back(&mut self, job: Job<Class, Msg>) {
        self.queue(job.key).push_back(job);
        self.metrics.queue_depth.set(i64::try_from(self.len()).unwrap_or(i64::MAX));
    }

    fn remove_expired_items(&mut self, handler: &Option<Arc<dyn DiscardHandler<Class, Msg>>>) -> usize {
        let before = self.len();
        for queue in [&mut self.known, &mut self.strangers, &mut self.hashes] {
            queue.retain_mut(|job| {
                let expired = job.is_expired();
                if expired && let Some(handler) = handler {
                    handler.discard(DiscardReason::TtlExpired, job);
                }
                !expired
            });
        }
        self.metrics.queue_depth.set(i64::try_from(self.len()).unwrap_or(i64::MAX));
        before - self.len()
    }
}
