//! Token buckets in this process, in bounded memory.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use super::Decision;
use crate::config::Rate;
use crate::domain::network::Network;
use crate::telemetry::Counter;

/// Buckets that networks share when all others are taken. The more there are, the rarer a newcomer shares one with an
/// attacker who took the others; each costs 8 bytes.
const SPARE: usize = 1024;

/// A token bucket for each network.
#[derive(Debug)]
pub struct Buckets {
    limiter: RateLimiter<Network, Store, DefaultClock, StateInformationMiddleware>,
    clock: DefaultClock,
}

/// Buckets for `keys_max` networks, and spare ones for all further networks. A keyed hash assigns the spare ones, so
/// that an attacker with many addresses cannot choose the networks that share a bucket with them.
#[derive(Debug)]
struct Store {
    known: DashMapStateStore<Network>,
    keys_max: usize,
    spare: Box<[InMemoryState]>,
    overflows: Counter,
}

impl Buckets {
    /// Full buckets.
    #[must_use]
    pub fn new(rate: Rate, keys_max: usize, overflows: Counter) -> Self {
        // The library refuses a period of zero, and so does the configuration.
        let period = rate.period.max(Duration::from_nanos(1));
        let quota = Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(rate.burst);
        let spare = (0..SPARE).map(|_| InMemoryState::default()).collect();
        let store = Store { known: DashMapStateStore::default(), keys_max, spare, overflows };
        let clock = DefaultClock::default();
        Self { limiter: RateLimiter::new(quota, store, clock.clone()), clock }
    }

    /// Takes a token from the bucket of `network`.
    #[must_use]
    pub fn take(&self, network: Network) -> Decision {
        match self.limiter.check_key(&network) {
            Ok(state) => Decision::Allowed { remaining: state.remaining_burst_capacity() },
            Err(until) => Decision::Refused { retry_after: until.wait_time_from(self.clock.now()) },
        }
    }

    /// Drops full buckets. A new bucket is full as well.
    pub fn sweep(&self) {
        self.limiter.retain_recent();
    }

    /// Number of networks that have a bucket of their own.
    #[must_use]
    pub fn held(&self) -> usize {
        self.limiter.len()
    }
}

impl StateStore for Store {
    type Key = Network;

    fn measure_and_replace<T, F, E>(&self, network: &Network, take: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if let Some(bucket) = self.known.get(network) {
            return bucket.measure_and_replace(&NotKeyed::NonKey, take);
        }
        // Threads that look at the same time may each add one: their number may exceed the bound.
        if self.known.len() < self.keys_max {
            return self.known.measure_and_replace(network, take);
        }
        self.overflows.inc();
        let hash = std::hash::BuildHasher::hash_one(self.known.hasher(), network);
        let at = usize::try_from(hash).unwrap_or_default() % SPARE;
        match self.spare.get(at) {
            Some(bucket) => bucket.measure_and_replace(&NotKeyed::NonKey, take),
            None => take(None).map(|(taken, _)| taken),
        }
    }
}

impl ShrinkableKeyedStateStore<Network> for Store {
    fn retain_recent(&self, drop_below: Nanos) {
        ShrinkableKeyedStateStore::retain_recent(&self.known, drop_below);
        // Gives back the memory that an attack took.
        if self.known.capacity() > 4 * self.known.len().max(SPARE) {
            self.known.shrink_to_fit();
        }
    }

    fn len(&self) -> usize {
        self.known.len()
    }

    fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn buckets(period: Duration, burst: u32, keys_max: usize) -> (Buckets, Counter) {
        let overflows = Counter::new("overflows", "None.").unwrap();
        (Buckets::new(Rate { period, burst: burst.try_into().unwrap() }, keys_max, overflows.clone()), overflows)
    }

    fn network(number: u32) -> Network {
        Network::of(Ipv4Addr::from_bits(number).into())
    }

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_bucket_gives_its_burst_and_then_refuses_until_the_next_token() {
        let (buckets, _) = buckets(HOUR, 3, 10);
        for remaining in [2, 1, 0] {
            assert_eq!(buckets.take(network(1)), Decision::Allowed { remaining });
        }
        let Decision::Refused { retry_after } = buckets.take(network(1)) else { panic!("a fourth token") };
        assert!(retry_after <= HOUR && retry_after > HOUR / 2, "{retry_after:?}");
        assert_eq!(buckets.take(network(2)), Decision::Allowed { remaining: 2 }, "another network has its own");
    }

    #[test]
    fn more_addresses_than_the_cap_share_the_spare_buckets() {
        let (buckets, overflows) = buckets(HOUR, 2, 100);
        let allowed = |number| matches!(buckets.take(network(number)), Decision::Allowed { .. });
        assert!((0..100).all(allowed));
        let passed = (100..100_000).filter(|number| allowed(*number)).count();
        assert_eq!(buckets.held(), 100, "no more than the cap");
        assert_eq!(passed, 2 * SPARE, "every spare bucket is used up, and none gives more than its burst");
        assert_eq!(overflows.get(), 99_900);
        assert!((0..100).all(allowed), "the first networks keep their own");
        assert!(!(0..100).any(allowed));
    }

    #[test]
    fn buckets_that_are_full_again_make_room() {
        let (buckets, _) = buckets(Duration::from_millis(1), 2, 100);
        for number in 0..100 {
            let _ = buckets.take(network(number));
        }
        assert!(buckets.held() <= 100);
        while buckets.held() > 0 {
            buckets.sweep();
        }
        assert_eq!(buckets.take(network(1_000)), Decision::Allowed { remaining: 1 });
        assert_eq!(buckets.held(), 1);
    }

    #[test]
    fn parallel_takers_share_one_burst_exactly() {
        let (buckets, _) = buckets(HOUR, 1_000, 10);
        let takers: usize = std::thread::scope(|scope| {
            let taker = || (0..1_000).filter(|_| matches!(buckets.take(network(1)), Decision::Allowed { .. })).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(taker)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(takers, 1_000);
    }
}
