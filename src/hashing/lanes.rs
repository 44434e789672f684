//! The lanes of one core: admit a job, advance all by a slice, retire the finished.

use std::mem;

use zeroize::Zeroize;

use crate::hashing::blowfish::{self, Digest, LANES_MAX, Salt, State};
use crate::hashing::mcf::Cost;

/// The rounds of a slice: about a millisecond on a current core, a little less for one lane, a little more for eight.
pub const SLICE: u32 = 12;

/// The hashes that one core has under way, and the ticket `J` of each: whatever its owner answers it by.
///
/// Nothing here waits, measures or allocates once built. Dropping it zeroizes the states and drops the tickets.
pub struct Lanes<J> {
    /// One state a lane; the busy ones come first, in the order of `jobs`.
    states: Box<[State]>,
    jobs: Vec<Job<J>>,
}

struct Job<J> {
    ticket: J,
    /// Until the digest is there, or until the padding is done.
    rounds: u64,
    /// Rounds that follow the digest, for time's sake alone.
    padding: u64,
    digest: Option<Digest>,
}

impl<J> Lanes<J> {
    /// Idle lanes; `capacity` is held to 1..=[`LANES_MAX`].
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

    /// The rounds that are left of each hash under way. [`SLICE`] of them make a slice; how many a second the core does
    /// is for the owner to measure.
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

    /// The same, but the hash keeps its lane for `padding` rounds more, so that it takes as long as one of a higher cost.
    ///
    /// # Errors
    /// Gives the ticket back where no lane is free.
    pub fn admit_padded(&mut self, ticket: J, password: &[u8], salt: &Salt, cost: Cost, padding: u64) -> Result<(), J> {
        let Some(state) = self.states.get_mut(self.jobs.len()) else { return Err(ticket) };
        state.start(password, salt);
        self.jobs.push(Job { ticket, rounds: cost.rounds(), padding, digest: None });
        Ok(())
    }

    /// Advances every busy lane by `rounds`, or by as many as the first to finish has left, so that its lane can be
    /// refilled at once; then hands every finished hash to `retire`, and zeroizes its lane. Gives the rounds that each lane
    /// was advanced by.
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

    /// Takes the digests of those that are to go on. Their states go on from where they are, with work like any other's.
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
        // A digest that was taken before the padding was the whole work: a second one would tell of the padding.
        let digest = job.digest.unwrap_or_else(|| state.digest());
        state.zeroize();
        let (rest, free) = self.states.split_at_mut(self.jobs.len());
        if let (Some(hole), Some(last)) = (rest.get_mut(lane), free.first_mut()) {
            hole.replace(last);
        }
        Some((job.ticket, digest))
    }
}
