//! The lanes of one core: they admit jobs, advance together by a slice, and retire finished jobs.

use std::mem;

use zeroize::Zeroize;

use crate::hashing::blowfish::{self, Digest, LANES_MAX, Salt, State};
use crate::hashing::mcf::Cost;

/// The rounds of a slice: about a millisecond on a current core, a little less for one lane, a little more for eight.
pub const SLICE: u32 = 12;

/// The hashes that one core has under way, and the ticket `J` of each, by which its owner answers it.
///
/// Once built, nothing here waits, measures or allocates. Its drop zeroizes the states and drops the tickets.
pub struct Lanes<J> {
    /// One state a lane; the busy ones come first, in the order of `jobs`.
    states: Box<[State]>,
    jobs: Vec<Job<J>>,
}

struct Job<J> {
    ticket: J,
    /// Rounds left until the digest is computed, or until the padding is done.
    rounds: u64,
    /// Rounds after the digest, whose only effect is the time they take.
    padding: u64,
    digest: Option<Digest>,
}

impl<J> Lanes<J> {
    /// Idle lanes; `capacity` is clamped to 1..=[`LANES_MAX`].
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, LANES_MAX);
        Self { states: (0..capacity).map(|_| State::idle()).collect(), jobs: Vec::with_capacity(capacity) }
    }

    /// The number of lanes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.states.len()
    }

    /// The number of hashes under way.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.jobs.len()
    }

    /// The remaining rounds of each hash under way. [`SLICE`] of them make a slice; the owner measures how many a
    /// second the core does.
    pub fn rounds(&self) -> impl Iterator<Item = u64> {
        self.jobs.iter().map(|job| job.rounds + job.padding)
    }

    /// Begins a hash in a free lane, in some 30 microseconds, and keeps no reference to the password.
    ///
    /// # Errors
    /// Gives the ticket back where no lane is free.
    pub fn admit(&mut self, ticket: J, password: &[u8], salt: &Salt, cost: Cost) -> Result<(), J> {
        self.admit_padded(ticket, password, salt, cost, 0)
    }

    /// The same, but the hash keeps its lane for `padding` more rounds, so that it takes as long as one of a higher
    /// cost.
    ///
    /// # Errors
    /// Gives the ticket back where no lane is free.
    pub fn admit_padded(&mut self, ticket: J, password: &[u8], salt: &Salt, cost: Cost, padding: u64) -> Result<(), J> {
        let Some(state) = self.states.get_mut(self.jobs.len()) else { return Err(ticket) };
        state.start(password, salt);
        self.jobs.push(Job { ticket, rounds: cost.rounds(), padding, digest: None });
        Ok(())
    }

    /// Advances every busy lane by `rounds`, or by the remaining rounds of the first to finish, so that its lane can be
    /// refilled at once. Then hands every finished hash to `retire` and zeroizes its lane. Returns the rounds that each
    /// lane was advanced by.
    pub fn advance(&mut self, rounds: u32, mut retire: impl FnMut(J, Digest)) -> u32 {
        let Some(least) = self.jobs.iter().map(|job| job.rounds).min() else { return 0 };
        let rounds = u32::try_from(least).map_or(rounds, |least| rounds.min(least));
        let (busy, _) = self.states.split_at_mut(self.jobs.len());
        blowfish::advance(busy, rounds);
        for job in &mut self.jobs {
            job.rounds -= u64::from(rounds);
        }
        self.pad();
        while let Some((ticket, digest)) = self.take() {
            retire(ticket, digest);
        }
        rounds
    }

    /// Takes the digests of jobs with padding. Their states go on with rounds like any other's.
    fn pad(&mut self) {
        for (job, state) in self.jobs.iter_mut().zip(&mut self.states) {
            if job.rounds == 0 && job.padding > 0 {
                job.digest = Some(state.digest());
                job.rounds = mem::take(&mut job.padding);
            }
        }
    }

    /// Frees one finished lane, and moves the last busy one into it so that the busy ones stay together.
    fn take(&mut self) -> Option<(J, Digest)> {
        let lane = self.jobs.iter().position(|job| job.rounds == 0)?;
        let state = self.states.get_mut(lane)?;
        let job = self.jobs.swap_remove(lane);
        // A digest from before the padding was all the work: computing another would reveal the padding by its time.
        let digest = job.digest.unwrap_or_else(|| state.digest());
        state.zeroize();
        let (rest, free) = self.states.split_at_mut(self.jobs.len());
        if let (Some(hole), Some(last)) = (rest.get_mut(lane), free.first_mut()) {
            hole.replace(last);
        }
        Some((job.ticket, digest))
    }
}
