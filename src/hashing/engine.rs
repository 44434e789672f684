//! The threads that compute hashes: continuous batching.
//!
//! One OS thread per engine takes jobs from one queue into its lanes, advances all busy lanes by a slice of about a
//! millisecond, answers finished jobs and takes the next: no job waits for a batch to fill or to end. The method is
//! that of inference servers (Yu et al., "Orca", OSDI 2022: iteration-level scheduling). The threads are neither
//! tokio's workers nor its blocking pool, so a storm of logins occupies only them; they run at a lower priority, so
//! that the async threads go first.

mod thread;

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::calibration::{self, SelfTestError};
use super::mcf::Cost;
use super::{Digest, Salt, priority};
use crate::config;
use crate::telemetry::Counter;
use thread::{Shared, Ticket};

/// Why there are no engines.
#[derive(Debug, Error)]
pub enum StartError {
    /// The kernel failed its self-test.
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
    /// The system gives no thread.
    #[error("no thread for a hash engine: {0}; lower hashing.engines or raise the limit on threads")]
    Thread(std::io::Error),
}

/// A hash to compute.
#[derive(Debug)]
pub struct Job {
    /// The password; a longer one than 72 bytes counts up to there.
    pub password: Zeroizing<String>,
    /// Salt.
    pub salt: Salt,
    /// How many rounds.
    pub cost: Cost,
    /// The job takes at least the time of this cost, so that the time of a check does not reveal the cost of the hash.
    pub pad_to: Cost,
}

impl Job {
    fn padding(&self) -> u64 {
        self.pad_to.rounds().saturating_sub(self.cost.rounds())
    }

    /// Rounds in all.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.cost.rounds() + self.padding()
    }
}

/// All engines. Dropping the last clone ends the threads when they have finished what they hold.
#[derive(Clone)]
pub struct Engines(Arc<Guard>);

struct Guard(Arc<Shared>);

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
        let shared = Arc::new(Shared::new(config, &best, panics));
        let engines = Self(Arc::new(Guard(Arc::clone(&shared))));
        for at in 0..config.engines {
            let (shared, niceness) = (Arc::clone(&shared), config.niceness);
            let body = move || {
                priority::lower_thread(niceness);
                shared.run(at);
            };
            std::thread::Builder::new().name(format!("hash-{at}")).spawn(body).map_err(StartError::Thread)?;
        }
        Ok(engines)
    }

    /// Puts a job in the queue. The receiver fails where there will be no digest. A job whose receiver is gone by its
    /// turn is dropped; a started one finishes.
    #[must_use]
    pub fn submit(&self, job: Job) -> oneshot::Receiver<Digest> {
        let (reply, receiver) = oneshot::channel();
        self.0.0.put(Ticket { job, reply });
        receiver
    }

    /// Hashes that all engines together compute at once.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.0.0.lanes()
    }

    /// Rounds a second of all engines together when all lanes are busy, as measured over the last second of that.
    #[must_use]
    pub fn rounds_per_second(&self) -> u64 {
        self.0.0.rounds_per_second()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    const PANIC: &[u8] = b"panic!";

    /// The fault that the test below injects; the kernel itself has no way to panic.
    pub(super) fn panic_if_marked(job: &Job) {
        assert!(job.password.as_bytes() != PANIC, "as the test asked");
    }

    fn config(overrides: &[(&str, &str)]) -> config::Hashing {
        config::Config::with(overrides).unwrap().hashing
    }

    fn job(password: &[u8], cost: u8) -> Job {
        let password = Zeroizing::new(String::from_utf8(password.to_vec()).unwrap());
        let cost = Cost::new(cost).unwrap();
        Job { password, salt: [7; 16], cost, pad_to: cost }
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
        assert!(engines.submit(job(b"after", 4)).await.is_ok());
        assert_eq!(panics.get(), 1);
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
