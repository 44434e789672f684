//! Which attempts are admitted, and when a counter locks: pure functions of counters, the time and the rules. The
//! database holds the counters and their locks; store.rs applies these functions to them.

mod counter;

use std::time::Duration;

use super::lease::{LeaseEntry, Outcome};
use crate::config;
use crate::domain::moment::Moment;
pub(super) use counter::Counter;
use counter::after;

/// How long a network stays known to an account after a login.
const KNOWN: Duration = Duration::from_hours(30 * 24);
/// The first pause.
const DELAY: Duration = Duration::from_millis(250);

/// The limits of failures, and the times that they count.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// Failures that lock an account to the network that they came from.
    pub(super) lock_after: i32,
    /// Failures from all networks that lock an account to networks that it does not know.
    pub(super) account_lock_after: i32,
    /// Failures after which each attempt has to pause.
    pub(super) delay_after: i32,
    /// The first pause; each further failure doubles it.
    pub(super) delay: Duration,
    /// How long the first lock lasts; each that begins while it is remembered lasts twice as long as the one before.
    pub(super) lock: Duration,
    /// How long failures count after the last one, and locks after their end.
    pub(super) forget: Duration,
    /// How long a network is known after a login.
    pub(super) known: Duration,
    /// How long an attempt counts as under way if its end is never reported.
    pub(super) lease: Duration,
}

/// The failures that a counter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Failures of an account from one network.
    Network,
    /// Failures of an account from all networks that it does not know.
    Account,
}

/// The answer to one line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) granted: usize,
    /// The entry of each granted lease, if any was granted.
    pub(super) entry: Option<LeaseEntry>,
    /// Why the others got no lease.
    pub(super) verdict: Verdict,
    /// For how long at least.
    pub(super) wait: Duration,
}

/// Why an attempt is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Too many failures are on this counter.
    Locked(Scope),
    /// The last failure is too fresh.
    Paused,
    /// Attempts under way.
    Pending,
}

/// Locks that an end began, and how long each lasts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Locks {
    pub(super) network: Option<Duration>,
    pub(super) account: Option<Duration>,
}

impl Grant {
    /// Whether strangers are refused whatever their own counters say.
    pub(super) fn locks_account(&self) -> bool {
        self.verdict == Verdict::Locked(Scope::Account)
    }
}

impl Rules {
    pub(super) fn new(limits: &config::Limits, lease: Duration) -> Self {
        let &config::Limits { lock_after, account_lock_after, delay_after, lock, forget, .. } = limits;
        Self { lock_after, account_lock_after, delay_after, delay: DELAY, lock, forget, known: KNOWN, lease }
    }

    fn limit(&self, scope: Scope) -> i32 {
        match scope {
            Scope::Network => self.lock_after,
            Scope::Account => self.account_lock_after,
        }
    }
}

/// Admits as many of `wanted` attempts as could all fail without passing a limit. `account` is `None` where the account
/// knows the network: strangers can use up the account's limit, and must not lock its owner out. Counters change only
/// where a lease is granted.
pub(super) fn reserve(
    now: Moment,
    own: &mut Counter,
    mut account: Option<&mut Counter>,
    wanted: usize,
    rules: &Rules,
) -> Grant {
    let known = account.is_none();
    let mut room = wanted;
    if let Some(account) = account.as_deref_mut() {
        account.refresh(now, Scope::Account, rules);
        if account.is_locked(Scope::Account, rules) {
            return refused(Verdict::Locked(Scope::Account), account.locked_for(now, rules));
        }
        room = room.min(account.room(Scope::Account, rules));
        if room == 0 {
            return refused(Verdict::Pending, Duration::ZERO);
        }
    }
    own.refresh(now, Scope::Network, rules);
    if own.is_locked(Scope::Network, rules) {
        return refused(Verdict::Locked(Scope::Network), own.locked_for(now, rules));
    }
    let pause = own.pause(now, rules);
    if !pause.is_zero() {
        return refused(Verdict::Paused, pause);
    }
    room = room.min(own.room(Scope::Network, rules));
    if room == 0 {
        return refused(Verdict::Pending, Duration::ZERO);
    }
    let lease = after(now, rules.lease);
    own.lend(lease, room);
    if let Some(account) = account {
        account.lend(lease, room);
    }
    let entry = Some(LeaseEntry { until: lease, known });
    Grant { granted: room, entry, verdict: Verdict::Pending, wait: Duration::ZERO }
}

/// An attempt's end, as its counters see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) lease: Moment,
    /// `None`: the password was not checked.
    pub(super) outcome: Option<Outcome>,
}

/// Counts an end on the counters that admitted the attempt.
pub(super) fn resolve(
    now: Moment,
    own: &mut Counter,
    account: Option<&mut Counter>,
    end: Ended,
    rules: &Rules,
) -> Locks {
    Locks {
        account: account.and_then(|account| account.settle(now, end, Scope::Account, rules)),
        network: own.settle(now, end, Scope::Network, rules),
    }
}

fn refused(verdict: Verdict, wait: Duration) -> Grant {
    Grant { granted: 0, entry: None, verdict, wait }
}

#[cfg(test)]
mod tests;
