//! bcrypt on threads of its own, away from the async ones.
//!
//! [`engine`] drives the threads; [`mcf`] reads and writes the strings that databases keep.

pub mod engine;
pub mod mcf;

/// A salt: 16 random bytes.
pub type Salt = [u8; 16];
/// What bcrypt computes: 24 bytes, of which every implementation drops the last.
pub type Digest = [u8; 23];

/// The lowest cost that bcrypt defines.
pub const COST_MIN: u32 = 4;
/// 15: ten times the work of the default cost, a second or more. A stored hash of a higher cost would let one login occupy
/// a core for minutes, so it is refused.
pub const COST_MAX: u32 = 15;
