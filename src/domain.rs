//! Small types that several rooms share: parsed, plain Rust, no I/O.

pub mod invisible;
pub mod moment;
pub mod network;
pub mod origin;
pub mod timestamp;
