//! Small types that several rooms share: parsed, plain Rust, no I/O.

pub mod invisible;
pub mod network;
pub mod origin;
pub mod timestamp;
