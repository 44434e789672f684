//! The state that all engines share, and the loop of each on its thread.

use std::collections::VecDeque;
use std::hint;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Job;
use crate::config::{self, Kernel};
use crate::hashing::Digest;
use crate::hashing::calibration::{self, Best};
use crate::hashing::lanes::{Lanes, SLICE};
use crate::hashing::mcf::Cost;
use crate::hashing::priority::Session;
use crate::telemetry::Counter;

/// Over how long the measured pace is averaged: long enough for noise, short enough to follow a machine that slows down.
const PACE_MEMORY: Duration = Duration::from_secs(1);
/// How long an engine must have been idle before the session's priority is raised again: so it changes rarely enough
/// for the system, which allows ten changes a second.
const REST: Duration = Duration::from_millis(500);

/// A job and its reply. Dropped without an answer, the caller's receiver fails.
pub(super) struct Ticket {
    pub(super) job: Job,
    pub(super) reply: oneshot::Sender<Digest>,
}

/// The state that all engines share.
pub(super) struct Shared {
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

/// The next step of an engine.
enum Next {
    Admit(Ticket),
    Advance,
    End,
}

impl Shared {
    /// The state of engines that are not started yet.
    pub(super) fn new(config: &config::Hashing, best: &Best, panics: Counter) -> Self {
        let state = State {
            jobs: VecDeque::new(),
            loads: vec![0; config.engines].into_boxed_slice(),
            session: Session::new(config.session_niceness),
            closed: false,
        };
        Self {
            kernel: config.kernel,
            lanes: best.lanes,
            state: Mutex::new(state),
            wake: Condvar::new(),
            paces: (0..config.engines).map(|_| AtomicU64::new(best.rounds_per_second)).collect(),
            panics,
        }
    }

    /// Puts a job in the queue.
    pub(super) fn put(&self, ticket: Ticket) {
        self.lock().jobs.push_back(ticket);
        self.wake.notify_one();
    }

    /// Drops waiting jobs, and ends the engines when they have finished those in their lanes.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.jobs.clear();
        self.wake.notify_all();
    }

    /// Lanes of all engines.
    pub(super) fn lanes(&self) -> usize {
        self.lanes * self.paces.len()
    }

    /// Rounds a second of all engines.
    pub(super) fn rounds_per_second(&self) -> u64 {
        self.paces.iter().map(|pace| pace.load(Ordering::Relaxed)).sum::<u64>().max(1)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one engine. A panic costs only the jobs in its lanes their answers.
    pub(super) fn run(&self, at: usize) {
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
                    super::tests::panic_if_marked(&job);
                }
                Next::Advance => self.advance(at, &mut lanes),
            }
        }
    }

    /// Chooses the next step. The engine takes a job if it has a free lane, and if more jobs wait than the engines with
    /// fewer busy lanes need to reach its level. So idle engines take work before busy ones, and an engine that the
    /// system does not run delays only its own share. Sleeps while there is nothing to do.
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
                    // While an engine is idle, a core is free for others.
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
        for cost in (job.cost.log_rounds()..job.pad_to.log_rounds()).filter_map(|cost| Cost::new(cost).ok()) {
            let _ = hint::black_box(calibration::by_crate(job.password.as_bytes(), &job.salt, cost));
        }
        let _ = reply.send(digest);
        self.learn_pace(at, job.rounds(), started.elapsed());
    }

    /// Moves the known pace towards the measured one, the more the longer that was measured.
    fn learn_pace(&self, at: usize, rounds: u64, took: Duration) {
        let Some(pace) = self.paces.get(at) else { return };
        let (took, memory) = (took.as_nanos().max(1), PACE_MEMORY.as_nanos());
        let seen = u128::from(rounds) * 1_000_000_000 / took;
        let known = u128::from(pace.load(Ordering::Relaxed));
        let learned = (known * memory + seen * took) / (memory + took);
        pace.store(u64::try_from(learned).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }
}
