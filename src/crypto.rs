//! Keyed hashes of what may not be kept in the clear, and the sealing of secrets that are kept.

pub mod encryption;
pub mod pseudonym;
