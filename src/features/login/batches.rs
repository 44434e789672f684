//! The statements that reserve and resolve attempts, and what becomes of those who asked.

use std::time::{Duration, Instant};

use crate::database::Pool;
use ractor::ActorRef;

use super::handle::{ASK_AGAIN, AttemptError, AttemptsHandle, Msg, Reply};
use super::lease::{End, Key, Lease, Outcome};
use super::locked::{Lock, NETWORKS_MAX};
use super::metrics::AttemptMetrics;
use super::policy::{Grant, Rules, Verdict};
use super::queue::Batch;
use super::store::Store;
use crate::database::statements::{Connection, Statements};

/// What a crowd of one account's logins is told: it may have passed by then.
pub(super) const RETRY_AFTER_CROWD: Duration = Duration::from_secs(1);
/// Counters deleted by one statement at most, which holds them for as long as it takes.
const REAPED_AT_ONCE: i32 = 1_000;
/// Statements that delete counters one after the other: the rest can wait for the next time.
const REAPS: usize = 1_000;

pub(super) const LOCKED: &str = "locked";
pub(super) const PAUSED: &str = "paused";
pub(super) const LATE: &str = "waited_too_long";
pub(super) const FULL: &str = "queue_full";

/// A login that waits for its turn.
pub(super) struct Waiter {
    pub(super) reply: Reply<Lease>,
    pub(super) deadline: Instant,
    pub(super) has_waited: bool,
}

/// Those of a line who have to go on waiting.
pub(super) struct Rest {
    pub(super) key: Key,
    pub(super) waiters: Vec<Waiter>,
    pub(super) ask_again: Instant,
    /// Whether the account has logged in from the network, as the database has said.
    pub(super) known: bool,
    /// The account is locked to strangers.
    pub(super) lock: Option<Lock>,
}

/// Runs statements and hands their answers out.
pub(super) struct Batches {
    pub(super) pool: Pool,
    pub(super) statements: Statements,
    pub(super) rules: Rules,
    pub(super) rows_max: i64,
    pub(super) metrics: AttemptMetrics,
    pub(super) handle: AttemptsHandle,
}

impl Batches {
    pub(super) async fn reserve(&self, lines: Vec<(Key, Vec<Waiter>)>, mut asked: Asked) {
        let wishes: Vec<_> = lines.iter().map(|(key, waiters)| (*key, waiters.len())).collect();
        let asked_at = Instant::now();
        let statement = async |connection: Connection<'_>| Store(connection).reserve(&wishes, &self.rules).await;
        match self.statements.run(&self.pool, "reserve_attempts", wishes.len(), statement).await {
            Ok(grants) => {
                let locked: Vec<_> = wishes
                    .iter()
                    .zip(&grants)
                    .filter(|(_, grant)| grant.locks_account())
                    .map(|((key, _), grant)| (key.subject, asked_at + grant.wait))
                    .collect();
                // First: places that are granted are not to be lost where the next statement fails.
                let hand_out = |((key, line), grant): ((Key, _), Grant)| self.hand_out(key, line, &grant);
                asked.rests = lines.into_iter().zip(grants).map(hand_out).collect();
                self.remember_locked(&locked, asked_at, &mut asked.rests).await;
            }
            Err(error) => {
                for waiter in lines.into_iter().flat_map(|(_, waiters)| waiters) {
                    let _ = waiter.reply.send(Err(error.into()));
                }
            }
        }
    }

    /// Adds to the rest of each account that is locked to strangers which networks it knows.
    async fn remember_locked(&self, locked: &[([u8; 32], Instant)], asked_at: Instant, rests: &mut [Rest]) {
        if locked.is_empty() {
            return;
        }
        let subjects: Vec<_> = locked.iter().map(|(subject, _)| *subject).collect();
        let statement = async |connection: Connection<'_>| Store(connection).known(&subjects, NETWORKS_MAX + 1).await;
        // Without an answer the account is not remembered, and the database is asked again.
        let Ok(known) = self.statements.run(&self.pool, "known_networks", subjects.len(), statement).await else {
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

    /// Places to those in front who are still there, as many as there are; the others learn what stands in their way.
    fn hand_out(&self, key: Key, line: Vec<Waiter>, grant: &Grant) -> Rest {
        let now = Instant::now();
        let mut line = line.into_iter();
        for _ in 0..grant.granted {
            let Some(place) = grant.place else { break };
            let lease = Lease::new(key, place, self.handle.clone());
            // A place that nobody is there for any more is given back by being dropped.
            if let Some(waiter) = line.by_ref().find(|waiter| !waiter.reply.is_closed()) {
                self.metrics.admitted.inc();
                let _ = waiter.reply.send(Ok(lease));
            }
        }
        let known = grant.place.is_some_and(|place| place.known);
        let mut rest = Rest { key, waiters: Vec::new(), ask_again: now + ASK_AGAIN, known, lock: None };
        if grant.verdict == Verdict::Paused {
            rest.ask_again = now + grant.wait;
        }
        for mut waiter in line {
            match grant.verdict {
                Verdict::Locked(_) => self.refuse(waiter, LOCKED, grant.wait),
                Verdict::Paused if waiter.deadline < rest.ask_again => self.refuse(waiter, PAUSED, grant.wait),
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

    pub(super) fn refuse(&self, waiter: Waiter, reason: &str, retry_after: Duration) {
        // One that has left is not refused anything.
        if waiter.reply.send(Err(AttemptError::TooMany { retry_after })).is_ok() {
            self.metrics.refused.with_label_values(&[reason]).inc();
        }
    }

    pub(super) async fn resolve(&self, batch: Batch<End, Reply<()>>, _resolved: Resolved) {
        let ends: Vec<_> = batch.iter().map(|(end, _)| end).collect();
        let statement = async |connection: Connection<'_>| Store(connection).resolve(&ends, &self.rules).await;
        let locks = self.statements.run(&self.pool, "resolve_attempts", ends.len(), statement).await;
        self.metrics.locks.inc_by(locks.unwrap_or_default());
        for (_, reply) in batch {
            let _ = reply.send(locks.map(|_| ()).map_err(AttemptError::from));
        }
    }

    /// Deletes counters that mean nothing any more, and those beyond what may be kept.
    pub(super) async fn reap(&self) {
        for _ in 0..REAPS {
            let statement =
                async |connection: Connection<'_>| Store(connection).reap(REAPED_AT_ONCE, self.rows_max).await;
            match self.statements.run(&self.pool, "reap_attempts", 1, statement).await {
                Ok(0) | Err(_) => return,
                Ok(reaped) => self.metrics.reaped.inc_by(reaped),
            }
        }
    }
}

/// Gives a reserving statement's place and its lines' turns back however its task ends, by a panic too.
pub(super) struct Asked {
    actor: ActorRef<Msg>,
    rests: Vec<Rest>,
}

impl Asked {
    pub(super) fn new(actor: ActorRef<Msg>, lines: &[(Key, Vec<Waiter>)]) -> Self {
        let ask_again = Instant::now();
        Self {
            actor,
            rests: lines
                .iter()
                .map(|(key, _)| Rest { key: *key, waiters: Vec::new(), ask_again, known: false, lock: None })
                .collect(),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // An actor that is gone has no use for them, and those who wait learn it.
        let _ = self.actor.cast(Msg::Asked(std::mem::take(&mut self.rests)));
    }
}

/// The same for a resolving statement, and the accounts whose lines may move.
pub(super) struct Resolved {
    actor: ActorRef<Msg>,
    subjects: Vec<[u8; 32]>,
    /// Networks that have just logged in.
    succeeded: Vec<Key>,
}

impl Resolved {
    pub(super) fn new(actor: ActorRef<Msg>, ends: &[(End, Reply<()>)]) -> Self {
        let mut subjects: Vec<_> = ends.iter().map(|(end, _)| end.key.subject).collect();
        subjects.dedup();
        let succeeded = ends.iter().filter(|(end, _)| end.outcome == Some(Outcome::Succeeded));
        let succeeded = succeeded.map(|(end, _)| end.key).collect();
        Self { actor, subjects, succeeded }
    }
}

impl Drop for Resolved {
    fn drop(&mut self) {
        let _ = self.actor.cast(Msg::Resolved(std::mem::take(&mut self.subjects), std::mem::take(&mut self.succeeded)));
    }
}
