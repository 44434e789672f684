//! One counter, and how attempts change it.

use std::time::Duration;

use super::{Ended, Rules, Scope};
use crate::domain::moment::Moment;
use crate::features::login::lease::Outcome;

/// A row's times begin here: PostgreSQL's `-infinity`.
pub(super) const NEVER: Moment = Moment(i64::MIN);
/// Pauses and locks double this often at most.
const DOUBLINGS: i32 = 24;
/// No lock is made longer than this.
const LONGEST: Duration = Duration::from_hours(24);
/// The same, on a network that the account knows.
const LONGEST_WHERE_KNOWN: Duration = Duration::from_hours(1);
/// `known_until` moves once a day, so that most logins change no index.
const RENEW_AFTER: Duration = Duration::from_hours(24);

/// A row of `login_attempts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::features::login) struct Counter {
    pub(in crate::features::login) failures: i32,
    /// When the last failure was. A lock ends one first lock's time after it; a longer lock sets it that much later, so
    /// that replicas that know only locks of one length keep it too.
    pub(in crate::features::login) failed_at: Moment,
    /// When the lease of each attempt under way expires.
    pub(in crate::features::login) leases: Vec<Moment>,
    pub(in crate::features::login) known_until: Moment,
    pub(in crate::features::login) expires_at: Moment,
    /// Locks that are remembered.
    pub(in crate::features::login) locks: i16,
}

impl Counter {
    /// A counter that has counted nothing.
    pub(in crate::features::login) fn new(now: Moment, rules: &Rules) -> Self {
        let expires_at = after(now, rules.lease);
        Self { failures: 0, failed_at: NEVER, leases: Vec::new(), known_until: NEVER, expires_at, locks: 0 }
    }

    /// Drops expired locks, failures and leases.
    pub(super) fn refresh(&mut self, now: Moment, scope: Scope, rules: &Rules) {
        let unlocked_at = after(self.failed_at, rules.lock);
        if self.is_locked(scope, rules) && unlocked_at <= now {
            self.failures = 0;
            // The lock is remembered from its end on.
            self.failed_at = unlocked_at;
        }
        if !self.is_locked(scope, rules) && after(self.failed_at, rules.forget) <= now {
            self.failures = 0;
            self.locks = 0;
        }
        self.leases.retain(|lease| *lease > now);
    }

    pub(super) fn is_locked(&self, scope: Scope, rules: &Rules) -> bool {
        self.failures >= rules.limit(scope)
    }

    pub(super) fn locked_for(&self, now: Moment, rules: &Rules) -> Duration {
        until(now, after(self.failed_at, rules.lock))
    }

    /// How many more attempts could fail without passing the limit.
    pub(super) fn room(&self, scope: Scope, rules: &Rules) -> usize {
        let left = rules.limit(scope).saturating_sub(self.failures);
        usize::try_from(left).unwrap_or_default().saturating_sub(self.leases.len())
    }

    /// How long the next attempt has to pause.
    pub(super) fn pause(&self, now: Moment, rules: &Rules) -> Duration {
        let doublings = self.failures.saturating_sub(rules.delay_after);
        if doublings < 0 {
            return Duration::ZERO;
        }
        until(now, after(self.failed_at, doubled(rules.delay, doublings).min(rules.lock)))
    }

    pub(super) fn lend(&mut self, lease: Moment, granted: usize) {
        self.leases.extend(std::iter::repeat_n(lease, granted));
        self.expires_at = self.expires_at.max(lease);
    }

    /// Counts the end of one attempt; returns how long the lock lasts that this began.
    pub(super) fn settle(&mut self, now: Moment, end: Ended, scope: Scope, rules: &Rules) -> Option<Duration> {
        self.refresh(now, scope, rules);
        // Leases of one moment are alike, so any of them is removed.
        if let Some(at) = self.leases.iter().position(|lease| *lease == end.lease) {
            self.leases.remove(at);
        }
        match end.outcome {
            Some(Outcome::Failed) if !self.is_locked(scope, rules) => {
                self.fail(now, rules);
                return self.is_locked(scope, rules).then(|| self.lock(now, scope, rules));
            }
            Some(Outcome::Succeeded) if scope == Scope::Network => self.succeed(now, rules),
            // A success from one network says nothing of the strangers' failures.
            Some(Outcome::Failed | Outcome::Succeeded) | None => {}
        }
        None
    }

    fn fail(&mut self, now: Moment, rules: &Rules) {
        self.failures += 1;
        self.failed_at = now;
        self.expires_at = self.expires_at.max(after(now, rules.forget.max(rules.lock)));
    }

    fn lock(&mut self, now: Moment, scope: Scope, rules: &Rules) -> Duration {
        let longest = match scope {
            // Strangers can begin it, and its owner cannot end it.
            Scope::Account => rules.lock,
            // It is the owner's network, too.
            Scope::Network if self.known_until > now => LONGEST_WHERE_KNOWN,
            Scope::Network => LONGEST,
        };
        let lasting = doubled(rules.lock, i32::from(self.locks)).min(rules.lock.max(longest));
        self.locks = self.locks.saturating_add(1);
        self.failed_at = after(now, lasting.saturating_sub(rules.lock));
        self.expires_at = self.expires_at.max(after(now, lasting.saturating_add(rules.forget)));
        lasting
    }

    fn succeed(&mut self, now: Moment, rules: &Rules) {
        self.failures = 0;
        self.locks = 0;
        let known_until = after(now, rules.known);
        if after(self.known_until, RENEW_AFTER) < known_until {
            self.known_until = known_until;
            self.expires_at = self.expires_at.max(known_until);
        }
    }
}

fn doubled(duration: Duration, times: i32) -> Duration {
    duration.saturating_mul(1 << times.clamp(0, DOUBLINGS))
}

pub(super) fn after(moment: Moment, duration: Duration) -> Moment {
    // Infinity stays infinity.
    if moment == NEVER { NEVER } else { Moment(moment.0.saturating_add(micros(duration))) }
}

/// The time until `then`; zero once it has passed.
fn until(now: Moment, then: Moment) -> Duration {
    Duration::from_micros(u64::try_from(then.0.saturating_sub(now.0)).unwrap_or_default())
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
