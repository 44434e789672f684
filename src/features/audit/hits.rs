//! Refusals by rate limits, gathered so that a flood of them is a trickle of events.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::crypto::pseudonym::Pseudonyms;
use crate::domain::network::Network;
use crate::telemetry::Counter;

/// Networks and route classes that are kept apart at most: some megabytes.
const KEYS_MAX: usize = 10_000;
/// Events that one statement writes.
const BATCH_MAX: usize = 1_000;

type Key = (&'static str, Network);

/// What has gathered under one key.
#[derive(Debug, Clone, Copy)]
struct Gathering {
    count: i64,
    first: Instant,
}

/// Refusals that no event tells of yet.
pub(super) struct Hits {
    window: Duration,
    dropped: Counter,
    open: Mutex<HashMap<Key, Gathering>>,
}

impl fmt::Debug for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hits")
    }
}

/// One event to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HitEvent {
    pub(super) route_class: &'static str,
    pub(super) source: Option<String>,
    pub(super) count: i64,
    /// From the first refusal until now.
    pub(super) seconds: i64,
}

impl Hits {
    pub(super) fn new(window: Duration, dropped: Counter) -> Self {
        Self { window, dropped, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Key, Gathering>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one refusal.
    pub(super) fn add(&self, route_class: &'static str, network: Network, now: Instant) {
        self.gather((route_class, network), Gathering { count: 1, first: now });
    }

    fn gather(&self, key: Key, new: Gathering) {
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

    /// What has gathered for long enough at `now`, or all without that; nothing where there is none.
    pub(super) fn take(&self, now: Option<Instant>) -> Option<Taken<'_>> {
        let mut open = self.open();
        let is_due = |gathering: &Gathering| now.is_none_or(|now| now.duration_since(gathering.first) >= self.window);
        let due = open.iter().filter(|(_, gathering)| is_due(gathering)).map(|(key, _)| *key);
        let keys: Vec<_> = due.take(BATCH_MAX).collect();
        let taken: Vec<_> = keys.into_iter().filter_map(|key| Some((key, open.remove(&key)?))).collect();
        drop(open);
        (!taken.is_empty()).then_some(Taken { hits: self, taken })
    }
}

/// Refusals on their way to the database. They come back where they were not written, for whatever reason.
pub(super) struct Taken<'a> {
    hits: &'a Hits,
    taken: Vec<(Key, Gathering)>,
}

impl Taken<'_> {
    pub(super) fn events(&self, pseudonyms: &Pseudonyms) -> Vec<HitEvent> {
        let event = |((route_class, network), gathering): &(Key, Gathering)| HitEvent {
            route_class,
            source: pseudonyms.network(*network),
            count: gathering.count,
            seconds: i64::try_from(gathering.first.elapsed().as_secs()).unwrap_or(i64::MAX),
        };
        self.taken.iter().map(event).collect()
    }

    /// They are written.
    pub(super) fn done(mut self) {
        self.taken.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for (key, gathering) in self.taken.drain(..) {
            self.hits.gather(key, gathering);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::pseudonym::Disclosure;

    const WINDOW: Duration = Duration::from_mins(1);

    fn hits() -> Hits {
        Hits::new(WINDOW, Counter::new("dropped", "Dropped.").unwrap())
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
        let (hits, start) = (hits(), Instant::now());
        for _ in 0..500 {
            hits.add("login", network(1), start);
            hits.add("login", network(2), start);
        }
        hits.add("register", network(1), start + WINDOW);
        assert!(hits.take(Some(start + WINDOW / 2)).is_none(), "too early");
        let taken = hits.take(Some(start + WINDOW)).unwrap();
        assert_eq!(events(&taken), [("login", "0.0.0.1".into(), 500), ("login", "0.0.0.2".into(), 500)]);
        taken.done();
        assert!(hits.take(Some(start + WINDOW)).is_none());
        assert_eq!(events(&hits.take(None).unwrap()), [("register", "0.0.0.1".into(), 1)]);
    }

    #[test]
    fn what_was_not_written_comes_back_and_is_added_to_what_came_meanwhile() {
        let (hits, start) = (hits(), Instant::now());
        hits.add("login", network(1), start);
        let taken = hits.take(None).unwrap();
        hits.add("login", network(1), start + WINDOW);
        drop(taken);
        let taken = hits.take(Some(start + WINDOW)).unwrap();
        assert_eq!(events(&taken), [("login", "0.0.0.1".into(), 2)]);
    }

    #[test]
    fn of_too_many_networks_the_last_are_dropped_and_counted_and_all_leave_in_batches() {
        let (hits, start) = (hits(), Instant::now());
        for n in 0..KEYS_MAX + 5 {
            hits.add("login", network(n), start);
        }
        hits.add("login", network(0), start);
        assert_eq!(hits.dropped.get(), 5);
        let mut written = 0;
        while let Some(taken) = hits.take(None) {
            let batch = events(&taken).len();
            assert!(batch <= BATCH_MAX);
            written += batch;
            taken.done();
        }
        assert_eq!(written, KEYS_MAX);
    }
}
