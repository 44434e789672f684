//! Metrics of the key ring.

use crate::telemetry::{Counter, Level, Levels, Registry, TelemetryError};

/// The metrics of the key ring.
#[derive(Debug)]
pub struct KeyMetrics {
    /// Keys of the ring, without the secret, by state.
    pub(super) signing_keys: Levels,
    /// Keys that should sign and cannot: unreadable or malformed.
    pub(super) unusable: Level,
    /// Failed reads of the table of keys.
    pub(super) read_failures: Counter,
}

impl KeyMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    pub fn register(registry: &Registry) -> Result<Self, TelemetryError> {
        Ok(Self {
            signing_keys: registry.levels("signing_keys", "Keys of the ring.", &["state"])?,
            unusable: registry.level("signing_keys_unusable", "Keys that should sign and can't.")?,
            read_failures: registry
                .counter("signing_keys_read_failures_total", "Times that the table of keys could not be read.")?,
        })
    }
}
