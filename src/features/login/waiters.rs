//! Logins that wait for a lease, in lines, and the accounts that are known to be locked to strangers. A login joins its
//! line in its own task, reserve.rs sends lines off, and the end of an attempt wakes the lines of its account.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::handle::AttemptError;
use super::known::Known;
use super::lease::{Key, Lease};
use super::lines::Lines;
use super::locked::{Lock, Locked};
use super::metrics::AttemptMetrics;
use crate::actors::CallError;
use crate::actors::batcher::{Notifier, keep_sweeping};

/// How often waiting lines ask whether attempts on other replicas have ended. An end on this replica wakes them.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(50);
/// `Retry-After` for a crowd of logins to one account: it may have passed by then.
const RETRY_AFTER_CROWD: Duration = Duration::from_secs(1);

pub(super) const LOCKED: &str = "locked";
pub(super) const PAUSED: &str = "paused";
pub(super) const LATE: &str = "waited_too_long";
pub(super) const FULL: &str = "queue_full";

/// A login that waits for its turn.
pub(super) struct Waiter {
    pub(super) reply: oneshot::Sender<Result<Lease, AttemptError>>,
    pub(super) deadline: Instant,
    pub(super) has_waited: bool,
}

/// The waiters of a line that have to wait on.
pub(super) struct Rest {
    pub(super) key: Key,
    pub(super) waiters: Vec<Waiter>,
    pub(super) ask_again: Instant,
    /// Whether the account has logged in from the network, as the database said.
    pub(super) known: bool,
    /// The lock, where the account is locked to strangers.
    pub(super) lock: Option<Lock>,
}

/// All logins that wait.
pub(super) struct Waiters {
    state: Mutex<State>,
    known: Known,
    notifier: Notifier,
    metrics: Arc<AttemptMetrics>,
}

struct State {
    lines: Lines<Waiter>,
    locked: Locked,
    /// Whether a task sweeps the lines.
    is_swept: bool,
}

impl std::fmt::Debug for Waiters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiters")
    }
}

impl Waiters {
    pub(super) fn new(notifier: Notifier, metrics: Arc<AttemptMetrics>) -> Self {
        let known = Known::default();
        let state = State { lines: Lines::new(known.clone()), locked: Locked::default(), is_swept: false };
        Self { state: Mutex::new(state), known, notifier, metrics }
    }

    /// Whether the account has logged in from the network, as far as this replica knows.
    pub(super) fn is_known(&self, key: &Key) -> bool {
        self.known.has(key)
    }

    /// Waits for a lease under `key`: in line for at most `max_wait`, and for at most `grace` more for the statement.
    pub(super) async fn lease(
        self: &Arc<Self>,
        key: Key,
        max_wait: Duration,
        grace: Duration,
    ) -> Result<Lease, AttemptError> {
        let now = Instant::now();
        let (reply, answer) = oneshot::channel();
        let waiter = Waiter { reply, deadline: now + max_wait, has_waited: false };
        let is_unswept = self.change(|state| {
            if let Some(wait) = state.locked.refuses(now, &key).filter(|_| !self.is_known(&key)) {
                self.refuse(waiter, LOCKED, wait);
            } else if let Err(waiter) = state.lines.join(key, waiter) {
                self.refuse(waiter, FULL, RETRY_AFTER_CROWD);
            }
            !state.lines.is_empty() && !mem::replace(&mut state.is_swept, true)
        });
        if is_unswept {
            let waiters = Arc::clone(self);
            keep_sweeping(ASK_AGAIN, move || waiters.sweep());
        }
        match timeout(max_wait + grace, answer).await {
            Ok(answer) => answer.unwrap_or(Err(CallError::Gone.into())),
            Err(_) => Err(CallError::TimedOut.into()),
        }
    }

    /// Whether a line may be ready to ask.
    pub(super) fn are_ready(&self) -> bool {
        self.lock().lines.are_ready()
    }

    /// Takes up to `max` lines whose turn it is, with all their waiters.
    pub(super) fn take(&self, max: usize) -> Vec<(Key, Vec<Waiter>)> {
        self.lock().lines.take(max)
    }

    /// Ends the asking of these lines.
    pub(super) fn put_back(&self, rests: Vec<Rest>) {
        self.change(|state| {
            for Rest { key, waiters, ask_again, known, lock } in rests {
                if known {
                    self.known.add(key);
                }
                state.lines.put_back(key, waiters, ask_again);
                if let Some(lock) = lock {
                    self.remember(state, key.subject, lock);
                }
            }
        });
    }

    /// Remembers that an account is locked to strangers, and refuses the strangers that wait.
    fn remember(&self, state: &mut State, subject: [u8; 32], lock: Lock) {
        let now = Instant::now();
        let until = lock.until;
        let State { lines, locked, .. } = state;
        locked.remember(now, subject, lock);
        // A login may have made the network known since.
        let goes = |key: &Key| locked.refuses(now, key).is_some() && !self.is_known(key);
        for waiter in lines.clear(&subject, goes) {
            self.refuse(waiter, LOCKED, until.saturating_duration_since(now));
        }
    }

    /// Notes that the account has logged in from the network.
    pub(super) fn add_known(&self, key: Key) {
        self.known.add(key);
    }

    /// Lets all lines of these accounts ask, because attempts on them have ended.
    pub(super) fn wake(&self, subjects: &[[u8; 32]]) {
        self.change(|state| subjects.iter().for_each(|subject| state.lines.wake(subject)));
    }

    /// Lets lines ask whose time has come, and refuses waiters whose deadline has passed. Returns whether others wait.
    fn sweep(&self) -> bool {
        let now = Instant::now();
        self.change(|state| {
            for waiter in state.lines.sweep(now, |waiter| waiter.deadline <= now || waiter.reply.is_closed()) {
                if waiter.has_waited {
                    self.refuse(waiter, LATE, RETRY_AFTER_CROWD);
                } else {
                    // No statement has judged it: the actor or the database is away, and the client is not to blame.
                    let _ = waiter.reply.send(Err(CallError::TimedOut.into()));
                }
            }
            state.is_swept = !state.lines.is_empty();
            state.is_swept
        })
    }

    pub(super) fn refuse(&self, waiter: Waiter, reason: &str, retry_after: Duration) {
        // A waiter that has left is not counted as refused.
        if waiter.reply.send(Err(AttemptError::TooMany { retry_after })).is_ok() {
            self.metrics.refused.with_label_values(&[reason]).inc();
        }
    }

    /// Changes the lines, and notifies the actor if a line may ask and none might before.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let were_ready = state.lines.are_ready();
        let changed = change(&mut state);
        let are_ready = state.lines.are_ready();
        drop(state);
        if are_ready && !were_ready {
            self.notifier.notify();
        }
        changed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::batcher::Plan;
    use crate::telemetry::Registry;

    #[tokio::test]
    async fn a_login_that_no_statement_has_judged_is_not_told_that_it_came_too_often() {
        let metrics = Arc::new(AttemptMetrics::register(&Registry::new().unwrap()).unwrap());
        let notifier = Plan::new(1, Duration::from_secs(1)).group(1).notifier();
        let waiters = Arc::new(Waiters::new(notifier, Arc::clone(&metrics)));
        let key = Key { subject: [1; 32], source: [1; 16] };
        let answer = waiters.lease(key, Duration::from_millis(1), Duration::from_mins(1)).await;
        assert!(matches!(answer, Err(AttemptError::Call(CallError::TimedOut))), "{:?}", answer.err());
        assert_eq!(metrics.refused.with_label_values(&[LATE]).get(), 0);
    }
}
