//! Keyed hashes of what may not be kept in the clear, the sealing of secrets that are kept, and trusted authorities.

pub mod authorities;
pub mod encryption;
pub mod pseudonym;
