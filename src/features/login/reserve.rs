//! The statement that reserves attempts, and the answers to their waiters.
//!
//! A login may have to wait for the end of another one, on this replica or elsewhere, or for a pause to pass. So logins
//! do not gather in an inbox but in lines, one for each account and network. A line asks as one, for as many leases as
//! it has waiters, while no other line of its account asks in the same statement. Waiters without a lease go back to
//! its front.

use std::sync::Arc;
use std::time::Instant;

use super::lease::{Key, Lease};
use super::locked::{Lock, NETWORKS_MAX};
use super::metrics::AttemptMetrics;
use super::policy::{Grant, Verdict};
use super::resolve::Resolve;
use super::store::Counters;
use super::waiters::{ASK_AGAIN, LOCKED, PAUSED, Rest, Waiter, Waiters};
use crate::actors::batcher::{Batcher, Gathering, Run};

/// Asks for leases, and hands them out.
pub(super) struct Reserve {
    pub(super) counters: Counters,
    pub(super) waiters: Arc<Waiters>,
    pub(super) ends: Batcher<Resolve>,
    pub(super) metrics: Arc<AttemptMetrics>,
}

impl Gathering for Reserve {
    fn is_ready(&self) -> bool {
        self.waiters.are_ready()
    }

    fn take(self: Arc<Self>, max: usize) -> Option<Run> {
        let lines = self.waiters.take(max);
        if lines.is_empty() {
            return None;
        }
        // Before the task: a task that is dropped unpolled ends their turns, too.
        let asking = Asking::new(&self.waiters, &lines);
        Some(Box::pin(async move { self.reserve(lines, asking).await }))
    }
}

impl Reserve {
    async fn reserve(&self, lines: Vec<(Key, Vec<Waiter>)>, mut asking: Asking) {
        let requests: Vec<_> = lines.iter().map(|(key, waiters)| (*key, waiters.len())).collect();
        let asked_at = Instant::now();
        match self.counters.reserve(&requests).await {
            Ok(grants) => {
                let locked: Vec<_> = requests
                    .iter()
                    .zip(&grants)
                    .filter(|(_, grant)| grant.locks_account())
                    .map(|((key, _), grant)| (key.subject, asked_at + grant.wait))
                    .collect();
                // Handed out first, so that granted leases are not lost if the next statement fails.
                let hand_out = |((key, line), grant): ((Key, _), Grant)| self.hand_out(key, line, &grant);
                asking.rests = lines.into_iter().zip(grants).map(hand_out).collect();
                self.remember_locked(&locked, asked_at, &mut asking.rests).await;
            }
            Err(error) => {
                for waiter in lines.into_iter().flat_map(|(_, waiters)| waiters) {
                    let _ = waiter.reply.send(Err(error.into()));
                }
            }
        }
    }

    /// Adds the known networks to the rests of accounts that are locked to strangers.
    async fn remember_locked(&self, locked: &[([u8; 32], Instant)], asked_at: Instant, rests: &mut [Rest]) {
        if locked.is_empty() {
            return;
        }
        let subjects: Vec<_> = locked.iter().map(|(subject, _)| *subject).collect();
        // Without an answer the account is not remembered, and the database is asked again.
        let Ok(known) = self.counters.known(&subjects, NETWORKS_MAX + 1).await else {
            return;
        };
        for rest in rests {
            let subject = rest.key.subject;
            rest.lock = locked.iter().find(|(locked, _)| *locked == subject).map(|(_, until)| {
                let known = known.iter().filter(|known| known.subject == subject).map(|known| known.source).collect();
                Lock { asked_at, until: *until, known }
            });
        }
    }

    /// Hands the leases to the front waiters that are still there; refuses the others, or returns them to wait on.
    fn hand_out(&self, key: Key, line: Vec<Waiter>, grant: &Grant) -> Rest {
        let now = Instant::now();
        let mut line = line.into_iter();
        for _ in 0..grant.granted {
            let Some(entry) = grant.entry else { break };
            let lease = Lease::new(key, entry, self.ends.clone());
            // A lease without a waiter is returned by its drop.
            if let Some(waiter) = line.by_ref().find(|waiter| !waiter.reply.is_closed()) {
                self.metrics.admitted.inc();
                let _ = waiter.reply.send(Ok(lease));
            }
        }
        let known = grant.entry.is_some_and(|entry| entry.known);
        let mut rest = Rest { key, waiters: Vec::new(), ask_again: now + ASK_AGAIN, known, lock: None };
        if grant.verdict == Verdict::Paused {
            rest.ask_again = now + grant.wait;
        }
        for mut waiter in line {
            match grant.verdict {
                Verdict::Locked(_) => self.waiters.refuse(waiter, LOCKED, grant.wait),
                Verdict::Paused if waiter.deadline < rest.ask_again => self.waiters.refuse(waiter, PAUSED, grant.wait),
                Verdict::Paused | Verdict::Pending => {
                    if !waiter.has_waited {
                        self.metrics.waited.inc();
                        waiter.has_waited = true;
                    }
                    rest.waiters.push(waiter);
                }
            }
        }
        rest
    }
}

/// Lines that ask. Their turns end with the statement's task, also if it panics.
struct Asking {
    waiters: Arc<Waiters>,
    rests: Vec<Rest>,
}

impl Asking {
    fn new(waiters: &Arc<Waiters>, lines: &[(Key, Vec<Waiter>)]) -> Self {
        let ask_again = Instant::now();
        let rest = |key: Key| Rest { key, waiters: Vec::new(), ask_again, known: false, lock: None };
        Self { waiters: Arc::clone(waiters), rests: lines.iter().map(|(key, _)| rest(*key)).collect() }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.waiters.put_back(std::mem::take(&mut self.rests));
    }
}
