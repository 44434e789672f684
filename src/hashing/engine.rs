//! The threads that compute hashes: continuous batching.
//!
//! One OS thread per engine takes jobs from one queue into its lanes, advances all busy lanes by a slice of about a
//! millisecond, answers the finished and takes the next: no job waits for a batch to fill or to end. The method is that of
//! inference servers (Yu et al., "Orca", OSDI 2022: iteration-level scheduling). The threads are neither tokio's workers nor
//! its blocking pool, so a storm of logins occupies them and nothing else; they run at a lower priority, so that the async
//! threads go first.

use std::collections::VecDeque;
use std::hint;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::oneshot;

use super::calibration::{self, SelfTestError};
use super::lanes::{Lanes, SLICE};
use super::mcf::Cost;
use super::priority::{self, Session};
use super::{Digest, Salt};
use crate::config::{self, Kernel};
use crate::domain::password::Password;
use crate::telemetry::Counter;

/// Over how long the measured pace is averaged: long enough for noise, short enough to follow a machine that slows down.
const PACE_MEMORY: Duration = Duration::from_secs(1);
/// For how long an engine must have been idle before the session stops making way: rarely enough for the system, which grants
/// ten changes a second.
const REST: Duration = Duration::from_millis(500);

/// Why there are no engines.
#[derive(Debug, Error)]
pub enum StartError {
    /// The kernel computes something else than bcrypt.
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
    /// The system gives no thread.
    #[error("no thread for a hash engine: {0}; lower hashing.engines or raise the limit on threads")]
    Thread(std::io::Error),
}

/// What is to be computed.
#[derive(Debug)]
pub struct Job {
    /// The password; a longer one than 72 bytes counts up to there.
    pub password: Password,
    /// Salt.
    pub salt: Salt,
    /// How many rounds.
    pub cost: Cost,
    /// The cost whose time the job takes at least: a password's check should not tell by its time what its hash costs.
    pub as_long_as: Cost,
}

impl Job {
    fn padding(&self) -> u64 {
        self.as_long_as.rounds().saturating_sub(self.cost.rounds())
    }

    /// Rounds in all.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.cost.rounds() + self.padding()
    }
}

/// A job, and whom to tell. Dropped without an answer, it tells them that there will be none.
struct Ticket {
    job: Job,
    reply: oneshot::Sender<Digest>,
}

/// All engines. Dropping the last clone ends the threads when they have finished what they hold.
#[derive(Clone)]
pub struct Engines(Arc<Guard>);

struct Guard(Arc<Shared>);

struct Shared {
    kernel: Kernel,
    /// Lanes of each engine.
    lanes: usize,
    state: Mutex<State>,
    wake: Condvar,
    /// Rounds a second of each engine when all its lanes are busy.
    paces: Box<[AtomicU64]>,
    panics: Counter,
}

struct State {
    jobs: VecDeque<Ticket>,
    /// Busy lanes of each engine.
    loads: Box<[usize]>,
    session: Session,
    closed: bool,
}

impl std::fmt::Debug for Engines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engines")
    }
}

impl Engines {
    /// Checks the kernel, measures it, and starts the threads; takes up to 150 ms. Panics of engines are counted in `panics`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(config: &config::Hashing, panics: Counter) -> Result<Self, StartError> {
        calibration::self_test()?;
        let best = calibration::measure(config.kernel, config.lanes);
        let shared = Arc::new(Shared {
            kernel: config.kernel,
            lanes: best.lanes,
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                loads: vec![0; config.engines].into_boxed_slice(),
                session: Session::new(config.session_niceness),
                closed: false,
            }),
            wake: Condvar::new(),
            paces: (0..config.engines).map(|_| AtomicU64::new(best.rounds_per_second)).collect(),
            panics,
        });
        let engines = Self(Arc::new(Guard(Arc::clone(&shared))));
        for at in 0..config.engines {
            let (shared, niceness) = (Arc::clone(&shared), config.niceness);
            let body = move || {
                priority::lower_thread(niceness);
                shared.run(at);
            };
            thread::Builder::new().name(format!("hash-{at}")).spawn(body).map_err(StartError::Thread)?;
        }
        Ok(engines)
    }

    /// Puts a job in the queue. The receiver fails where there will be no digest; a job whose receiver is gone by its turn
    /// is dropped, a started one finishes.
    #[must_use]
    pub fn submit(&self, job: Job) -> oneshot::Receiver<Digest> {
        let (reply, receiver) = oneshot::channel();
        let shared = &self.0.0;
        shared.lock().jobs.push_back(Ticket { job, reply });
        shared.wake.notify_one();
        receiver
    }

    /// Hashes that all engines together compute at once.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.0.0.lanes * self.0.0.paces.len()
    }

    /// Rounds a second of all engines together when all lanes are busy, as measured over the last second of that.
    #[must_use]
    pub fn rounds_per_second(&self) -> u64 {
        self.0.0.paces.iter().map(|pace| pace.load(Ordering::Relaxed)).sum::<u64>().max(1)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.jobs.clear();
        self.0.wake.notify_all();
    }
}

/// What an engine does next.
enum Next {
    Admit(Ticket),
    Advance,
    End,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One engine's life. A panic costs the jobs in its lanes their answers, and nothing else.
    fn run(&self, at: usize) {
        while catch_unwind(AssertUnwindSafe(|| self.drive(at))).is_err() {
            self.panics.inc();
            tracing::error!(engine = at, "a hash engine panicked and starts over");
        }
    }

    fn drive(&self, at: usize) {
        let mut lanes = Lanes::new(self.lanes);
        loop {
            match self.next(at, lanes.busy()) {
                Next::End => return,
                Next::Admit(ticket) if self.kernel == Kernel::Crate => self.compute_by_crate(at, ticket),
                Next::Admit(Ticket { job, reply }) => {
                    // A lane is free, or the job would not have been taken.
                    let _ = lanes.admit_padded(reply, job.password.as_bytes(), &job.salt, job.cost, job.padding());
                    #[cfg(test)]
                    tests::panic_if_told(&job);
                }
                Next::Advance => self.advance(at, &mut lanes),
            }
        }
    }

    /// A job, where a lane is free and enough jobs wait to bring the engines with fewer busy lanes up to this one's level:
    /// idle engines take work before busy ones, and one that the system keeps from running holds up none but its own share.
    /// Sleeps while there is nothing to do at all.
    fn next(&self, at: usize, busy: usize) -> Next {
        let mut state = self.lock();
        loop {
            if let Some(load) = state.loads.get_mut(at) {
                *load = busy;
            }
            let for_others: usize = state.loads.iter().map(|load| busy.saturating_sub(*load)).sum();
            while busy < self.lanes
                && state.jobs.len() > for_others
                && let Some(ticket) = state.jobs.pop_front()
            {
                if !ticket.reply.is_closed() {
                    if let Some(load) = state.loads.get_mut(at) {
                        *load = busy + 1;
                    }
                    // While an engine is idle, there is a core for others.
                    if state.loads.iter().all(|load| *load > 0) {
                        state.session.lower();
                    }
                    return Next::Admit(ticket);
                }
            }
            if busy > 0 {
                return Next::Advance;
            }
            if state.closed {
                return Next::End;
            }
            state = self.sleep(state);
        }
    }

    fn sleep<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if !state.session.is_lowered() {
            return self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut state, waited) = self.wake.wait_timeout(state, REST).unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            state.session.raise();
        }
        state
    }

    fn advance(&self, at: usize, lanes: &mut Lanes<oneshot::Sender<Digest>>) {
        let busy = lanes.busy();
        let started = Instant::now();
        let rounds = lanes.advance(SLICE, |reply, digest| {
            // A caller that has left is no error.
            let _ = reply.send(digest);
        });
        if busy == self.lanes {
            self.learn_pace(at, u64::from(rounds) * busy as u64, started.elapsed());
        }
    }

    fn compute_by_crate(&self, at: usize, Ticket { job, reply }: Ticket) {
        let started = Instant::now();
        let digest = calibration::by_crate(job.password.as_bytes(), &job.salt, job.cost);
        // Costs c, c+1, … to d-1 make 2^d - 2^c rounds: the padding.
        for cost in (job.cost.log_rounds()..job.as_long_as.log_rounds()).filter_map(|cost| Cost::new(cost).ok()) {
            let _ = hint::black_box(calibration::by_crate(job.password.as_bytes(), &job.salt, cost));
        }
        let _ = reply.send(digest);
        self.learn_pace(at, job.rounds(), started.elapsed());
    }

    /// Moves the known pace towards what was just seen, the more the longer that took.
    fn learn_pace(&self, at: usize, rounds: u64, took: Duration) {
        let Some(pace) = self.paces.get(at) else { return };
        let (took, memory) = (took.as_nanos().max(1), PACE_MEMORY.as_nanos());
        let seen = u128::from(rounds) * 1_000_000_000 / took;
        let known = u128::from(pace.load(Ordering::Relaxed));
        let learned = (known * memory + seen * took) / (memory + took);
        pace.store(u64::try_from(learned).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    const PANIC: &[u8] = b"panic!";

    /// The fault that the test below injects; the kernel itself has no way to panic.
    pub(super) fn panic_if_told(job: &Job) {
        assert!(job.password.as_bytes() != PANIC, "as the test asked");
    }

    fn config(overrides: &[(&str, &str)]) -> config::Hashing {
        config::Config::with(overrides).unwrap().hashing
    }

    fn job(password: &[u8], cost: u8) -> Job {
        let password = Password::offered(Zeroizing::new(String::from_utf8(password.to_vec()).unwrap()));
        let cost = Cost::new(cost).unwrap();
        Job { password, salt: [7; 16], cost, as_long_as: cost }
    }

    fn panics() -> Counter {
        Counter::new("panics", "panics").unwrap()
    }

    #[tokio::test]
    async fn many_jobs_of_different_costs_are_each_answered_with_their_own_digest() {
        for kernel in ["interleaved", "crate"] {
            let config = config(&[("hashing.engines", "2"), ("hashing.lanes", "3"), ("hashing.kernel", kernel)]);
            let engines = Engines::start(&config, panics()).unwrap();
            let waiting: Vec<_> = (0..40_u8)
                .map(|at| (at, engines.submit(job(format!("password {at}").as_bytes(), 4 + at % 3))))
                .collect();
            for (at, digest) in waiting {
                let expected = calibration::by_crate(
                    format!("password {at}").as_bytes(),
                    &[7; 16],
                    Cost::new(4 + at % 3).unwrap(),
                );
                assert_eq!(digest.await.unwrap(), expected, "{kernel}, job {at}");
            }
        }
    }

    #[tokio::test]
    async fn a_panic_costs_the_engines_jobs_their_answers_and_the_engine_comes_back() {
        let panics = panics();
        let config = config(&[("hashing.engines", "1"), ("hashing.lanes", "2")]);
        let engines = Engines::start(&config, panics.clone()).unwrap();
        let beside = engines.submit(job(b"beside", 15));
        let panicking = engines.submit(job(PANIC, 4));
        assert!(panicking.await.is_err());
        assert!(beside.await.is_err());
        let back = Instant::now();
        assert!(engines.submit(job(b"after", 4)).await.is_ok());
        assert_eq!(panics.get(), 1);
        // Five times what the contract grants: a test machine may be busy.
        assert!(back.elapsed() < Duration::from_millis(500), "{:?}", back.elapsed());
    }

    #[tokio::test]
    async fn a_job_that_nobody_waits_for_is_not_started() {
        let config = config(&[("hashing.engines", "1"), ("hashing.lanes", "1")]);
        let engines = Engines::start(&config, panics()).unwrap();
        let long = engines.submit(job(b"long", 10));
        // Would take minutes if it were computed.
        drop(engines.submit(job(b"left", 20)));
        let last = engines.submit(job(b"last", 4));
        assert!(long.await.is_ok());
        assert!(last.await.is_ok());
    }

    #[tokio::test]
    async fn dropping_the_engines_drops_what_waits() {
        let config = config(&[("hashing.engines", "1"), ("hashing.lanes", "1")]);
        let engines = Engines::start(&config, panics()).unwrap();
        let first = engines.submit(job(b"first", 10));
        let second = engines.submit(job(b"second", 10));
        drop(engines);
        // The first had started, or had not; the second never does.
        let _ = first.await;
        assert!(second.await.is_err());
    }
}
