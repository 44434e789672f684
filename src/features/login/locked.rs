//! Accounts that the database lately said are locked to strangers, so that it need not be asked again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::lease::Key;

/// How long an answer is used. Another replica may admit a stranger meanwhile, and so make its network known.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// Accounts at most: together with the networks that they know, some 8 MB. For all others, the database is asked.
const MAX: usize = 4_096;
/// Networks of an account that are kept. For an account that knows more, the database is asked each time; its list is
/// read with one more, to notice that.
pub(super) const NETWORKS_MAX: usize = 100;

/// The database's answer about an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lock {
    /// When the database was asked.
    pub(super) asked_at: Instant,
    /// When the lock is over.
    pub(super) until: Instant,
    /// All networks that the account knows: they are not locked out.
    pub(super) known: Vec<[u8; 16]>,
}

/// The locks that are remembered.
#[derive(Default)]
pub(super) struct Locked(HashMap<[u8; 32], Lock>);

impl Locked {
    pub(super) fn remember(&mut self, now: Instant, subject: [u8; 32], lock: Lock) {
        if self.0.len() >= MAX {
            self.0.retain(|_, lock| lock.holds_at(now));
        }
        if lock.known.len() <= NETWORKS_MAX && (self.0.len() < MAX || self.0.contains_key(&subject)) {
            self.0.insert(subject, lock);
        }
    }

    /// How long the database would still refuse a login under this key. `None`: it has to be asked.
    pub(super) fn refuses(&self, now: Instant, key: &Key) -> Option<Duration> {
        let lock = self.0.get(&key.subject).filter(|lock| lock.holds_at(now) && !lock.known.contains(&key.source))?;
        Some(lock.until.saturating_duration_since(now))
    }
}

impl Lock {
    fn holds_at(&self, now: Instant) -> bool {
        now < self.until && now.saturating_duration_since(self.asked_at) < GOOD_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(subject: u8, source: u8) -> Key {
        Key { subject: [subject; 32], source: [source; 16] }
    }

    #[test]
    fn strangers_are_refused_for_a_second_and_known_networks_never() {
        let (now, minute, mut locked) = (Instant::now(), Duration::from_mins(1), Locked::default());
        locked.remember(now, [1; 32], Lock { asked_at: now, until: now + minute, known: vec![[7; 16]] });
        assert_eq!(locked.refuses(now, &key(1, 1)), Some(minute));
        assert_eq!(locked.refuses(now, &key(1, 7)), None, "known");
        assert_eq!(locked.refuses(now, &key(2, 1)), None, "another account");
        let almost = Duration::from_millis(999);
        assert_eq!(locked.refuses(now + almost, &key(1, 1)), Some(Duration::from_millis(59_001)));
        assert_eq!(locked.refuses(now + GOOD_FOR, &key(1, 1)), None);
        let soon = now + Duration::from_millis(100);
        locked.remember(now, [1; 32], Lock { asked_at: now, until: soon, known: vec![] });
        assert_eq!(locked.refuses(soon, &key(1, 1)), None, "the lock is over");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (now, mut locked) = (Instant::now(), Locked::default());
        let lock = |known| Lock { asked_at: now, until: now + Duration::from_mins(1), known: vec![[7; 16]; known] };
        locked.remember(now, [1; 32], lock(NETWORKS_MAX + 1));
        assert_eq!(locked.refuses(now, &key(1, 1)), None);
        for n in 0..2 * MAX {
            let mut subject = [0; 32];
            subject[..8].copy_from_slice(&n.to_be_bytes());
            locked.remember(now, subject, lock(0));
        }
        assert_eq!(locked.0.len(), MAX);
        locked.remember(now + GOOD_FOR, [1; 32], lock(0));
        assert_eq!(locked.0.len(), 1, "an old lock makes room");
    }
}
