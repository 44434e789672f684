//! At start: checks that the kernel is bcrypt, and finds the best number of lanes.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use thiserror::Error;
use zeroize::Zeroizing;

use super::blowfish::LANES_MAX;
use super::lanes::{Lanes, SLICE};
use super::mcf::{Cost, Mcf, Verdict};
use super::{Digest, Salt};
use crate::config::Kernel;

/// Turns of each candidate, a slice each: all five candidates take some 40 ms together.
const TURNS: usize = 7;
/// Numbers of lanes worth measuring: fewer leave the core idle on every machine seen.
const CANDIDATES: RangeInclusive<usize> = 4..=LANES_MAX;
/// By how many percent more lanes have to be faster, because each hash takes longer.
const WORTHWHILE_PERCENT: u64 = 3;

/// Published hashes of cost 4 to 6, so that they take milliseconds: jBCrypt's and Openwall's own tests.
const VECTORS: [(&[u8], &str); 4] = [
    (b"", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
    (b"a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
    (b"U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    (b"\xa3", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq"),
];

/// Why the kernel cannot be used.
#[derive(Debug, Error)]
pub enum SelfTestError {
    /// Its result differs from a published one.
    #[error(
        "the hash kernel failed its self-test on a published vector; this build or machine would refuse good passwords"
    )]
    Vector,
    /// Its result differs from that of the `bcrypt` crate.
    #[error(
        "the hash kernel failed its self-test against the bcrypt crate; this build or machine would refuse good passwords"
    )]
    Crate,
    /// There are no random inputs for the test.
    #[error("the operating system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

/// The best number of lanes, and the speed of one engine with them.
#[derive(Debug, Clone, Copy)]
pub struct Best {
    /// Lanes of each engine.
    pub lanes: usize,
    /// Rounds a second of one engine.
    pub rounds_per_second: u64,
}

/// Computes the published vectors, and random inputs for every number of lanes beside the `bcrypt` crate.
///
/// # Errors
/// [`SelfTestError`].
pub fn self_test() -> Result<(), SelfTestError> {
    let mut published = Vec::with_capacity(VECTORS.len());
    for (password, text) in VECTORS {
        published.push((password, text.parse::<Mcf>().map_err(|_| SelfTestError::Vector)?));
    }
    let jobs: Vec<_> =
        published.iter().map(|(password, hash)| Input { password, salt: hash.salt, cost: hash.cost }).collect();
    let agrees = |(at, digest): &(usize, Digest)| {
        published.get(*at).is_some_and(|(_, hash)| hash.verify(digest) == Verdict::Match)
    };
    let digests = by_lanes(jobs.len(), &jobs);
    if digests.len() != jobs.len() || !digests.iter().all(agrees) {
        return Err(SelfTestError::Vector);
    }
    // Several lengths, the longest among them.
    let mut inputs = [72, 71, 64, 36, 17, 8, 1, 0].map(|length| (vec![0_u8; length], Salt::default()));
    for (password, salt) in &mut inputs {
        getrandom::fill(password)?;
        getrandom::fill(salt)?;
    }
    let jobs: Vec<_> =
        inputs.iter().map(|(password, salt)| Input { password, salt: *salt, cost: Cost::LOWEST }).collect();
    let expected: Vec<_> = jobs.iter().map(|job| by_crate(job.password, &job.salt, job.cost)).collect();
    for lanes in 1..=LANES_MAX {
        // As many as there are lanes: each lane of each kernel has one, and all together take milliseconds.
        let jobs = jobs.get(..lanes).unwrap_or(&jobs);
        let digests = by_lanes(lanes, jobs);
        let agrees =
            digests.len() == jobs.len() && digests.iter().all(|(at, digest)| expected.get(*at) == Some(digest));
        if !agrees {
            return Err(SelfTestError::Crate);
        }
    }
    Ok(())
}

/// Measures `kernel`: the given number of lanes, or the fastest where none is given.
#[must_use]
pub fn measure(kernel: Kernel, lanes: Option<usize>) -> Best {
    match (kernel, lanes) {
        (Kernel::Crate, _) => {
            let started = Instant::now();
            let _ = by_crate(b"measured", &Salt::default(), Cost::LOWEST);
            Best { lanes: 1, rounds_per_second: per_second(Cost::LOWEST.rounds(), started.elapsed()) }
        }
        (Kernel::Interleaved, Some(lanes)) => best_of(lanes..=lanes),
        (Kernel::Interleaved, None) => best_of(CANDIDATES),
    }
}

/// Measures all candidates in turn, so that a disturbance affects all of them alike.
fn best_of(candidates: RangeInclusive<usize>) -> Best {
    let mut candidates: Vec<_> = candidates.map(|count| (saturated(count), Vec::with_capacity(TURNS))).collect();
    for _ in 0..TURNS {
        for (lanes, paces) in &mut candidates {
            paces.push(turn(lanes));
        }
    }
    let measured = candidates.into_iter().map(|(lanes, mut paces)| {
        let (_, median, _) = paces.select_nth_unstable(TURNS / 2);
        Best { lanes: lanes.capacity(), rounds_per_second: *median }
    });
    let better = |best: Best, next: Best| {
        let worthwhile = best.rounds_per_second / 100 * (100 + WORTHWHILE_PERCENT);
        if next.rounds_per_second > worthwhile { next } else { best }
    };
    measured.reduce(better).unwrap_or(Best { lanes: 1, rounds_per_second: 1 })
}

/// One hash by the `bcrypt` crate.
#[must_use]
pub fn by_crate(password: &[u8], salt: &Salt, cost: Cost) -> Digest {
    // The NUL that ends a C string is part of the key; the crate takes 72 bytes at the most.
    let mut key = Zeroizing::new(Vec::with_capacity(password.len() + 1));
    key.extend_from_slice(password);
    key.push(0);
    let [digest @ .., _] = bcrypt::bcrypt(u32::from(cost.log_rounds()), *salt, key.get(..72).unwrap_or(&key));
    digest
}

/// An input of the self-test.
struct Input<'a> {
    password: &'a [u8],
    salt: Salt,
    cost: Cost,
}

/// Computes all jobs, each in a lane. Returns the position of each with its digest.
fn by_lanes(count: usize, jobs: &[Input<'_>]) -> Vec<(usize, Digest)> {
    let mut lanes = Lanes::new(count);
    for (at, job) in jobs.iter().enumerate() {
        // A job without a lane is missing in the result.
        let _ = lanes.admit(at, job.password, &job.salt, job.cost);
    }
    let mut digests = Vec::with_capacity(jobs.len());
    while lanes.busy() > 0 {
        lanes.advance(SLICE, |at, digest| digests.push((at, digest)));
    }
    digests
}

/// Rounds a second of `count` busy lanes on this thread, measured for `time`.
#[must_use]
pub fn pace(count: usize, time: Duration) -> u64 {
    let mut lanes = saturated(count);
    let (started, mut rounds) = (Instant::now(), 0);
    while started.elapsed() < time {
        lanes.advance(SLICE, |(), _| {});
        rounds += u64::from(SLICE) * count as u64;
    }
    per_second(rounds, started.elapsed())
}

/// Rounds a second during one slice.
fn turn(lanes: &mut Lanes<()>) -> u64 {
    let started = Instant::now();
    lanes.advance(SLICE, |(), _| {});
    per_second(u64::from(SLICE) * lanes.busy() as u64, started.elapsed())
}

/// Busy lanes that do not finish during a measurement: 2^31 rounds take weeks.
fn saturated(count: usize) -> Lanes<()> {
    let mut lanes = Lanes::new(count);
    for _ in 0..count {
        let _ = lanes.admit((), b"measured", &Salt::default(), Cost::HIGHEST);
    }
    lanes
}

fn per_second(rounds: u64, took: Duration) -> u64 {
    u64::try_from(u128::from(rounds) * 1_000_000_000 / took.as_nanos().max(1)).unwrap_or(u64::MAX).max(1)
}
