//! The rules of all actors in code: how they are called, started and supervised, and how their requests are batched. It
//! names no capability.

pub mod batcher;
pub mod call;
pub mod supervisor;

pub(crate) use call::Current;
pub use call::{CallError, Cell, Reply};
pub use supervisor::Child;
