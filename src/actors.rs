//! What all actors have in common: how they are called, started, supervised, and answered in batches. It names no capability.

pub mod batcher;
pub mod call;
pub mod supervisor;

pub(crate) use call::Current;
pub use call::{CallError, Cell, Reply};
pub use supervisor::Child;
