//! Metrics of the pool that hashes.

use super::pool::{BUSY_DEADLINE, BUSY_FULL, BUSY_LATE, BUSY_STOPPING};
use crate::telemetry::{Counter, Counters, Gauge, Histogram, Level, REQUEST_TIMES, Registry, TelemetryError};

/// The metrics of the pool.
#[derive(Debug)]
pub(super) struct HashMetrics {
    /// Jobs waiting for a hasher.
    pub(super) queue_depth: Level,
    /// From a job's arrival to its start.
    pub(super) wait: Histogram,
    /// From a job's start to its end.
    pub(super) duration: Histogram,
    /// Jobs refused, by reason.
    pub(super) refusals: Counters,
    /// Jobs dropped before their start because their caller had gone.
    pub(super) abandoned: Counter,
    /// Hashes a second of all engines together at the configured cost, as last measured.
    pub(super) capacity: Gauge,
    /// Hashes being computed.
    pub(super) lanes_busy: Level,
    /// Estimated wait of a stranger's login that arrived now.
    pub(super) wait_estimate: Gauge,
}

impl HashMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, TelemetryError> {
        let reasons = [BUSY_DEADLINE, BUSY_FULL, BUSY_LATE, BUSY_STOPPING];
        Ok(Self {
            queue_depth: registry.level("hash_queue_depth", "Jobs waiting for a hasher.")?,
            wait: registry.histogram("hash_wait_seconds", "Time a job waited for its start.", REQUEST_TIMES)?,
            duration: registry.histogram(
                "hash_duration_seconds",
                "Time from a job's start to its end.",
                REQUEST_TIMES,
            )?,
            refusals: registry.counters_of("hash_refusals_total", "Jobs refused.", "reason", &reasons)?,
            abandoned: registry.counter("hash_abandoned_total", "Jobs dropped because their caller had gone.")?,
            capacity: registry.gauge("hash_capacity_per_second", "Hashes a second at the configured cost.")?,
            lanes_busy: registry.level("hash_lanes_busy", "Hashes being computed.")?,
            wait_estimate: registry.gauge("hash_wait_estimate_seconds", "Wait of a job that came now.")?,
        })
    }
}

/// Registers the counter of engine threads that panicked. It is apart because engines start before features are built.
///
/// # Errors
/// [`TelemetryError::Metrics`].
pub(crate) fn engine_panics(registry: &Registry) -> Result<Counter, TelemetryError> {
    registry.counter("hash_engine_panics_total", "Panics of hash engines.")
}
