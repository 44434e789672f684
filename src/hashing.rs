//! bcrypt on threads of its own, away from the async ones, several hashes at once on each core.
//!
//! From the inside out: [`blowfish`] computes interleaved states, [`lanes`] fills and empties the lanes of one core,
//! [`engine`] drives the threads, which `priority` puts behind other work, and [`calibration`] checks the kernel and
//! finds the best number of lanes at start. [`mcf`] reads and writes the strings that databases keep.

pub mod blowfish;
pub mod calibration;
pub mod engine;
pub mod lanes;
pub mod mcf;
mod priority;
mod stored;

use std::time::Duration;

pub use blowfish::{Digest, Salt};
pub use stored::PasswordHash;

/// Longest computation: the slowest hash that is accepted (cost 15, all lanes busy, a slow core) and then some.
pub const COMPUTE_TIMEOUT: Duration = Duration::from_mins(1);

/// 15: eight times the work of the default cost, some two seconds alone. A stored hash of a higher cost would let one login
/// occupy a lane for minutes, so it is refused.
pub const COST_MAX: u8 = 15;
