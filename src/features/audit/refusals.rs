//! Refusals by rate limits, gathered so that a flood of them is a trickle of events.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::crypto::pseudonym::Pseudonyms;
use crate::domain::network::Network;
use crate::telemetry::Counter;

/// Pairs of network and class that are counted apart at most: some megabytes.
const KEYS_MAX: usize = 10_000;
/// Events that one statement writes.
const BATCH_MAX: usize = 1_000;

type Key = (&'static str, Network);

/// The refusals of one key.
#[derive(Debug, Clone, Copy)]
struct Refused {
    count: i64,
    first: Instant,
}

/// Refusals without an event yet.
pub(super) struct Refusals {
    window: Duration,
    dropped: Counter,
    open: Mutex<HashMap<Key, Refused>>,
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Refusals")
    }
}

/// One event to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RefusalEvent {
    pub(super) route_class: &'static str,
    pub(super) source: Option<String>,
    pub(super) count: i64,
    /// From the first refusal until now.
    pub(super) seconds: i64,
}

impl Refusals {
    pub(super) fn new(window: Duration, dropped: Counter) -> Self {
        Self { window, dropped, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Key, Refused>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one refusal.
    pub(super) fn add(&self, route_class: &'static str, network: Network, now: Instant) {
        self.gather((route_class, network), Refused { count: 1, first: now });
    }

    fn gather(&self, key: Key, new: Refused) {
        let mut open = self.open();
        let is_full = open.len() >= KEYS_MAX;
        if let Some(known) = open.get_mut(&key) {
            known.count += new.count;
            known.first = known.first.min(new.first);
        } else if is_full {
            self.dropped.inc_by(u64::try_from(new.count).unwrap_or_default());
        } else {
            open.insert(key, new);
        }
    }

    /// Takes up to [`BATCH_MAX`] keys that have gathered for long enough at `now`, or any keys without `now`; `None`
    /// where there are none.
    pub(super) fn take(&self, now: Option<Instant>) -> Option<Taken<'_>> {
        let mut open = self.open();
        let is_due = |refused: &Refused| now.is_none_or(|now| now.duration_since(refused.first) >= self.window);
        let due = open.iter().filter(|(_, refused)| is_due(refused)).map(|(key, _)| *key);
        let keys: Vec<_> = due.take(BATCH_MAX).collect();
        let taken: Vec<_> = keys.into_iter().filter_map(|key| Some((key, open.remove(&key)?))).collect();
        drop(open);
        (!taken.is_empty()).then_some(Taken { refusals: self, taken })
    }
}

/// Refusals on their way to the database. When this is dropped before they are written, they go back.
pub(super) struct Taken<'a> {
    refusals: &'a Refusals,
    taken: Vec<(Key, Refused)>,
}

impl Taken<'_> {
    pub(super) fn events(&self, pseudonyms: &Pseudonyms) -> Vec<RefusalEvent> {
        let event = |((route_class, network), refused): &(Key, Refused)| RefusalEvent {
            route_class,
            source: pseudonyms.network(*network),
            count: refused.count,
            seconds: i64::try_from(refused.first.elapsed().as_secs()).unwrap_or(i64::MAX),
        };
        self.taken.iter().map(event).collect()
    }

    /// Marks them as written.
    pub(super) fn done(mut self) {
        self.taken.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for (key, refused) in self.taken.drain(..) {
            self.refusals.gather(key, refused);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::pseudonym::Disclosure;

    const WINDOW: Duration = Duration::from_mins(1);

    fn refusals() -> Refusals {
        Refusals::new(WINDOW, Counter::new("dropped", "Dropped.").unwrap())
    }

    fn network(n: usize) -> Network {
        Network::of(std::net::Ipv4Addr::from_bits(u32::try_from(n).unwrap()).into())
    }

    fn events(taken: &Taken<'_>) -> Vec<(&'static str, String, i64)> {
        let pseudonyms = Pseudonyms::new(b"secret", Disclosure::Plain, Disclosure::Plain);
        let mut events: Vec<_> = taken
            .events(&pseudonyms)
            .into_iter()
            .map(|event| (event.route_class, event.source.unwrap(), event.count))
            .collect();
        events.sort();
        events
    }

    #[test]
    fn a_flood_is_one_event_for_each_class_and_network() {
        let (refusals, start) = (refusals(), Instant::now());
        for _ in 0..500 {
            refusals.add("login", network(1), start);
            refusals.add("login", network(2), start);
        }
        refusals.add("register", network(1), start + WINDOW);
        assert!(refusals.take(Some(start + WINDOW / 2)).is_none(), "too early");
        let taken = refusals.take(Some(start + WINDOW)).unwrap();
        assert_eq!(events(&taken), [("login", "0.0.0.1".into(), 500), ("login", "0.0.0.2".into(), 500)]);
        taken.done();
        assert!(refusals.take(Some(start + WINDOW)).is_none());
        assert_eq!(events(&refusals.take(None).unwrap()), [("register", "0.0.0.1".into(), 1)]);
    }

    #[test]
    fn what_was_not_written_comes_back_and_is_added_to_what_came_meanwhile() {
        let (refusals, start) = (refusals(), Instant::now());
        refusals.add("login", network(1), start);
        let taken = refusals.take(None).unwrap();
        refusals.add("login", network(1), start + WINDOW);
        drop(taken);
        let taken = refusals.take(Some(start + WINDOW)).unwrap();
        assert_eq!(events(&taken), [("login", "0.0.0.1".into(), 2)]);
    }

    #[test]
    fn of_too_many_networks_the_last_are_dropped_and_counted_and_all_leave_in_batches() {
        let (refusals, start) = (refusals(), Instant::now());
        for n in 0..KEYS_MAX + 5 {
            refusals.add("login", network(n), start);
        }
        refusals.add("login", network(0), start);
        assert_eq!(refusals.dropped.get(), 5);
        let mut written = 0;
        while let Some(taken) = refusals.take(None) {
            let batch = events(&taken).len();
            assert!(batch <= BATCH_MAX);
            written += batch;
            taken.done();
        }
        assert_eq!(written, KEYS_MAX);
    }
}
