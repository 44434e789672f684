//! `[hashing]`: what new hashes cost, and what computes them.

use std::time::Duration;

use super::ConfigError;
use super::layers::Layers;
use crate::hashing::COST_MAX;
use crate::hashing::mcf::Cost;

/// `[hashing]`.
#[derive(Debug, Clone)]
pub struct Hashing {
    /// Cost of new hashes.
    pub cost: Cost,
    /// What computes the hashes.
    pub kernel: Kernel,
    /// Hash threads.
    pub engines: usize,
    /// Hashes at once per thread; `None` asks for the fastest number, measured at start.
    pub lanes: Option<usize>,
    /// Niceness of the hash threads.
    pub niceness: i32,
    /// Niceness of the service's session among those of the machine while all engines work.
    pub session_niceness: i32,
    /// Longest wait that a job is admitted with.
    pub max_wait: Duration,
    /// Jobs waiting at most.
    pub queue_max: usize,
}

/// What computes the hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Several hashes interleaved on one core.
    Interleaved,
    /// The `bcrypt` crate, one hash at a time.
    Crate,
}

impl Hashing {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            kernel: layers
                .choice("hashing.kernel", &[("interleaved", Kernel::Interleaved), ("crate", Kernel::Crate)])?,
            cost: Cost::new(layers.number("hashing.cost", Cost::LOWEST.log_rounds()..=COST_MAX)?)
                .map_err(|error| layers.refuse("hashing.cost", error.to_string()))?,
            engines: match layers.number("hashing.engines", 0..=1_024)? {
                0 => std::thread::available_parallelism().map_or(1, usize::from),
                engines => engines,
            },
            lanes: Some(layers.number("hashing.lanes", 0..=8)?).filter(|lanes| *lanes > 0),
            niceness: layers.number("hashing.niceness", 0..=19)?,
            session_niceness: layers.number("hashing.session_niceness", 0..=19)?,
            max_wait: layers.millis("hashing.max_wait_ms")?,
            queue_max: layers.number("hashing.queue_max", 1..=1_000_000)?,
        })
    }
}
