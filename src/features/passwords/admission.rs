//! Admission by deadline: a job that would have to wait for too long is refused at once, whatever the number of jobs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::handle::Class;
use super::queue::VERIFIES_PER_HASH;
use crate::hashing::engine::Engines;

/// Part of the longest wait that an estimate may fill. The rest is for what no estimate covers, such as a machine that
/// slows down: an admitted job should be served, not dropped at its deadline.
const MARGIN_PERCENT: u128 = 85;

/// The load of the pool, and how long it will take.
#[derive(Debug)]
pub(super) struct Admission {
    engines: Engines,
    max_wait: Duration,
    load: Mutex<Load>,
}

/// Waiting and running jobs: their rounds and their numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    known: u64,
    strangers: u64,
    hashes: u64,
    running: u64,
    /// The last 64 logins that began, a bit each: set where the network was known.
    history: u64,
    queued: usize,
    busy: usize,
}

impl Admission {
    pub(super) fn new(engines: Engines, max_wait: Duration) -> Self {
        Self { engines, max_wait, load: Mutex::default() }
    }

    /// Returns a permit for a waiting job; or its wait, where that would be too long.
    pub(super) fn admit(self: &Arc<Self>, class: Class, rounds: u64) -> Result<Permit, Duration> {
        let permit = Permit::waiting(self, class, rounds);
        // The job does not wait for itself.
        let wait = self.wait(class, 1, rounds);
        if self.is_too_long(wait) { Err(wait) } else { Ok(permit) }
    }

    /// The wait of a job of `class` that arrived now.
    pub(super) fn estimate(&self, class: Class) -> Duration {
        self.wait(class, 0, 0)
    }

    /// Whether a job with this wait would be refused.
    pub(super) fn is_too_long(&self, wait: Duration) -> bool {
        wait.as_micros() * 100 > self.max_wait.as_micros() * MARGIN_PERCENT
    }

    /// Hashes being computed.
    pub(super) fn busy(&self) -> usize {
        self.load().busy
    }

    /// The wait of a job: zero while there is a lane for every job; otherwise the rounds ahead of it, divided by the
    /// measured rounds a second. Ahead are the waiting jobs that go first, and the share of the running rounds until a
    /// lane is free. A job counts from its admission on, because of a crowd that arrives in one moment none runs yet.
    /// `own` and `own_rounds` are those of the job itself, if it counts already.
    fn wait(&self, class: Class, own: usize, own_rounds: u64) -> Duration {
        let lanes = self.engines.lanes();
        let load = *self.load();
        if load.queued.saturating_sub(own) + load.busy < lanes {
            return Duration::ZERO;
        }
        let rounds = load.ahead(class, own_rounds) + load.running / lanes.max(1) as u64;
        let micros = u128::from(rounds) * 1_000_000 / u128::from(self.engines.rounds_per_second());
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn load(&self) -> MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// The rounds of the waiting jobs that go before one of `class`; `own` rounds are the job's own.
    fn ahead(&self, class: Class, own: u64) -> u64 {
        let &Self { known, strangers, hashes, .. } = self;
        let passing = u64::from(VERIFIES_PER_HASH);
        let logins = match class {
            Class::Known => {
                let known = known.saturating_sub(own);
                known + strangers.min(known)
            }
            Class::Stranger => {
                let strangers = strangers.saturating_sub(own);
                strangers + strangers.min(known.max(self.passing(strangers)))
            }
            Class::Hash => return hashes.saturating_sub(own) + (known + strangers).min(hashes * passing),
        };
        logins + hashes.min((logins + own) / passing)
    }

    /// The rounds of logins from known networks that will come and pass the strangers', at the rate of the last logins.
    fn passing(&self, strangers: u64) -> u64 {
        let known = u64::from(self.history.count_ones());
        strangers * known / (u64::from(u64::BITS) - known).max(1)
    }

    fn waiting(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Known => &mut self.known,
            Class::Stranger => &mut self.strangers,
            Class::Hash => &mut self.hashes,
        }
    }
}

/// A job's part in the load, from its admission until it is done, refused or lost.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Arc<Admission>,
    class: Class,
    rounds: u64,
    is_running: bool,
}

impl Permit {
    fn waiting(admission: &Arc<Admission>, class: Class, rounds: u64) -> Self {
        let mut load = admission.load();
        *load.waiting(class) += rounds;
        load.queued += 1;
        drop(load);
        Self { admission: Arc::clone(admission), class, rounds, is_running: false }
    }

    /// Counts the job as running.
    pub(super) fn run(&mut self) {
        self.is_running = true;
        let mut load = self.admission.load();
        if self.class != Class::Hash {
            load.history = load.history << 1 | u64::from(self.class == Class::Known);
        }
        load.running += self.rounds;
        load.busy += 1;
        load.queued -= 1;
        *load.waiting(self.class) -= self.rounds;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut load = self.admission.load();
        if self.is_running {
            load.running -= self.rounds;
            load.busy -= 1;
        } else {
            load.queued -= 1;
            *load.waiting(self.class) -= self.rounds;
        }
    }
}

#[cfg(test)]
#[allow(clippy::cast_precision_loss, reason = "rates and counts are far below 2^52")]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::hashing::mcf::Cost;
    use crate::telemetry::Counter;

    fn admission(max_wait: Duration) -> Arc<Admission> {
        let config = Config::with(&[("hashing.engines", "1"), ("hashing.lanes", "2")]).unwrap().hashing;
        let engines = Engines::start(&config, Counter::new("panics", "panics").unwrap()).unwrap();
        Arc::new(Admission::new(engines, max_wait))
    }

    fn running(admission: &Arc<Admission>, cost: Cost) -> Permit {
        let mut permit = admission.admit(Class::Stranger, cost.rounds()).unwrap();
        permit.run();
        permit
    }

    #[test]
    fn nobody_waits_while_a_lane_is_free() {
        let admission = admission(Duration::from_millis(1));
        let _busy = running(&admission, Cost::HIGHEST);
        assert_eq!(admission.estimate(Class::Stranger), Duration::ZERO);
    }

    /// No job has reached a hasher when the last one is admitted or refused.
    #[test]
    fn a_crowd_that_comes_in_one_moment_is_admitted_as_far_as_its_wait_allows() {
        let cost = Cost::new(10).unwrap();
        let lanes = 2;
        for room in [8_u32, 40, 100] {
            let rate = admission(Duration::ZERO).engines.rounds_per_second();
            // In the part of the longest wait that estimates may fill, `room` jobs are done.
            let micros = u128::from(cost.rounds()) * u128::from(room) * 100_000_000 / u128::from(rate) / MARGIN_PERCENT;
            let admission = admission(Duration::from_micros(u64::try_from(micros).unwrap()));
            // Each start measures the kernel anew.
            let expected = f64::from(room) * admission.engines.rounds_per_second() as f64 / rate as f64;
            let crowd: Vec<_> = (0..256).map(|_| admission.admit(Class::Stranger, cost.rounds())).collect();
            let admitted = crowd.iter().filter(|permit| permit.is_ok()).count();
            let (least, most) = (expected * 0.9 - 1.0, expected * 1.1 + f64::from(lanes) + 1.0);
            assert!((least..most).contains(&(admitted as f64)), "{admitted} of 256, with room for {expected}");
            let refused = crowd.iter().find_map(|permit| permit.as_ref().err()).unwrap();
            assert!(admission.is_too_long(*refused), "{refused:?}");
        }
    }

    #[test]
    fn a_job_that_would_wait_for_too_long_is_refused_with_its_wait() {
        let admission = admission(Duration::from_secs(1));
        let _busy = [running(&admission, Cost::LOWEST), running(&admission, Cost::LOWEST)];
        let long = admission.admit(Class::Stranger, Cost::HIGHEST.rounds()).unwrap();
        let wait = admission.admit(Class::Stranger, Cost::LOWEST.rounds()).unwrap_err();
        assert!(wait > Duration::from_mins(1), "{wait:?}");
        drop(long);
        assert!(admission.admit(Class::Stranger, Cost::LOWEST.rounds()).is_ok());
    }

    #[test]
    fn a_login_waits_for_one_registration_in_three_logins() {
        let admission = admission(Duration::from_hours(1_000_000));
        let cost = Cost::new(20).unwrap();
        let _busy = [running(&admission, Cost::LOWEST), running(&admission, Cost::LOWEST)];
        let _hashes: Vec<_> = (0..9).map(|_| admission.admit(Class::Hash, cost.rounds()).unwrap()).collect();
        let idle = admission.estimate(Class::Stranger);
        let _verifies: Vec<_> = (0..3).map(|_| admission.admit(Class::Stranger, cost.rounds()).unwrap()).collect();
        let (verify, hash) = (admission.estimate(Class::Stranger), admission.estimate(Class::Hash));
        assert!(idle < verify / 100, "registrations do not delay a login that waits alone: {idle:?} {verify:?}");
        // Four jobs ahead of a login, twelve ahead of a registration.
        let ratio = hash.as_secs_f64() / verify.as_secs_f64();
        assert!((2.9..3.1).contains(&ratio), "{verify:?} {hash:?}");
    }

    #[test]
    fn a_storm_of_strangers_costs_known_networks_nothing() {
        let admission = admission(Duration::from_secs(1));
        let rounds = Cost::new(12).unwrap().rounds();
        let _busy = [running(&admission, Cost::LOWEST), running(&admission, Cost::LOWEST)];
        let mut storm = Vec::new();
        while let Ok(permit) = admission.admit(Class::Stranger, rounds) {
            storm.push(permit);
        }
        let refused = admission.estimate(Class::Stranger);
        let calm = admission.estimate(Class::Known);
        assert!(
            admission.is_too_long(refused + Duration::from_millis(100)) && calm < refused / 20,
            "{calm:?} {refused:?}"
        );
        let first = admission.admit(Class::Known, rounds).unwrap();
        let second = admission.estimate(Class::Known);
        // The first of them, and one stranger in turn.
        let turn = Duration::from_micros(2_000_000 * rounds / admission.engines.rounds_per_second()) + calm;
        assert!(second > calm && second < turn * 11 / 10, "{second:?} {turn:?}");
        drop(first);
    }

    #[test]
    fn strangers_are_told_of_the_known_ones_who_will_pass_them() {
        let admission = admission(Duration::from_hours(1_000_000));
        let rounds = Cost::new(20).unwrap().rounds();
        let _busy = [running(&admission, Cost::LOWEST), running(&admission, Cost::LOWEST)];
        let _strangers: Vec<_> = (0..4).map(|_| admission.admit(Class::Stranger, rounds).unwrap()).collect();
        let alone = admission.estimate(Class::Stranger);
        for _ in 0..64 {
            admission.admit(Class::Known, Cost::LOWEST.rounds()).unwrap().run();
        }
        let passed = admission.estimate(Class::Stranger).as_secs_f64() / alone.as_secs_f64();
        assert!((1.9..2.1).contains(&passed), "they have half of the time, never less: {passed}");
    }
}
