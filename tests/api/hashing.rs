//! The hash kernel, without anything around it.

mod lanes;
mod mcf;
mod vectors;

use rollcall::hashing::lanes::{Lanes, SLICE};
use rollcall::hashing::mcf::Cost;
use rollcall::hashing::{Digest, Salt};

/// One hash, start to end, in a lane of its own.
fn hash(password: &[u8], salt: &Salt, cost: Cost) -> Digest {
    let mut lanes = Lanes::new(1);
    lanes.admit((), password, salt, cost).unwrap();
    let mut digest = None;
    while digest.is_none() {
        lanes.advance(SLICE, |(), done| digest = Some(done));
    }
    digest.unwrap()
}
