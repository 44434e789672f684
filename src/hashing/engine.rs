//! The threads that compute hashes.
//!
//! One OS thread per engine takes jobs from one queue. The threads are neither tokio's workers nor its blocking pool, so a
//! storm of logins occupies them and nothing else; they run at a lower priority, so that the async threads go first.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use thiserror::Error;
use tokio::sync::oneshot;

use super::{Digest, Salt};
use crate::domain::password::Password;

/// Why there is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EngineError {
    /// The computation panicked.
    #[error("the hash could not be computed")]
    Failed,
}

/// Why there are no engines.
#[derive(Debug, Error)]
pub enum StartError {
    /// The kernel computes something else than bcrypt.
    #[error(
        "the hash kernel failed its self-test: {0}; run on another machine or build, this one would refuse every login"
    )]
    SelfTest(&'static str),
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
    /// Binary logarithm of the rounds.
    pub cost: u32,
}

struct Ticket {
    job: Job,
    reply: oneshot::Sender<Result<Digest, EngineError>>,
}

/// All engines. Dropping the last clone ends the threads when they have finished what they do.
#[derive(Clone)]
pub struct Engines(Arc<Guard>);

struct Guard(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Ticket>,
    closed: bool,
}

impl std::fmt::Debug for Engines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engines")
    }
}

impl Engines {
    /// Checks the kernel and starts `count` threads at `niceness`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(count: usize, niceness: i32) -> Result<Self, StartError> {
        self_test()?;
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Condvar::new() });
        let engines = Self(Arc::new(Guard(Arc::clone(&shared))));
        for at in 0..count {
            let shared = Arc::clone(&shared);
            let body = move || {
                lower_priority(niceness);
                shared.run();
            };
            thread::Builder::new().name(format!("hash-{at}")).spawn(body).map_err(StartError::Thread)?;
        }
        Ok(engines)
    }

    /// Puts a job in the queue. A job whose receiver is gone by its turn is dropped.
    #[must_use]
    pub fn submit(&self, job: Job) -> oneshot::Receiver<Result<Digest, EngineError>> {
        let (reply, receiver) = oneshot::channel();
        self.0.0.lock().jobs.push_back(Ticket { job, reply });
        self.0.0.wake.notify_one();
        receiver
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.wake.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        while let Some(Ticket { job, reply }) = self.next() {
            let computed = catch_unwind(AssertUnwindSafe(|| compute(job.password.as_bytes(), job.salt, job.cost)));
            let _ = reply.send(computed.map_err(|_| EngineError::Failed));
        }
    }

    /// The next job that somebody waits for; sleeps until there is one. `None` at the end.
    fn next(&self) -> Option<Ticket> {
        let mut state = self.lock();
        loop {
            match state.jobs.pop_front() {
                Some(ticket) if ticket.reply.is_closed() => {}
                Some(ticket) => return Some(ticket),
                None if state.closed => return None,
                None => state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

fn compute(password: &[u8], salt: Salt, cost: u32) -> Digest {
    // The NUL that ends a C string is part of the key; the crate reads 72 bytes at the most.
    let mut key = zeroize::Zeroizing::new(Vec::with_capacity(password.len() + 1));
    key.extend_from_slice(password);
    key.push(0);
    let [digest @ .., _] = bcrypt::bcrypt(cost, salt, key.get(..72).unwrap_or(&key));
    digest
}

/// Failing is no harm: the hashes only come first where they should come second.
fn lower_priority(niceness: i32) {
    #[cfg(target_os = "linux")]
    {
        let thread = rustix::thread::gettid();
        if let Err(error) = rustix::process::setpriority_process(Some(thread), niceness) {
            tracing::warn!(%error, niceness, "a hash thread keeps its priority");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = niceness;
}

/// Published vectors at the lowest costs, so that it takes milliseconds.
fn self_test() -> Result<(), StartError> {
    const VECTORS: [(&str, &[u8], &str); 3] = [
        ("an empty password", b"", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
        ("a short password", b"a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
        ("8-bit characters", b"\xa3", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq"),
    ];
    for (name, password, text) in VECTORS {
        let hash = super::mcf::Mcf::parse(text).map_err(|_| StartError::SelfTest(name))?;
        if !hash.matches(&compute(password, hash.salt, hash.cost)) {
            return Err(StartError::SelfTest(name));
        }
    }
    Ok(())
}
