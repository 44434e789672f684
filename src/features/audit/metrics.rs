//! Metrics of the audit log.

use crate::features::event_kinds;
use crate::telemetry::{Counter, Counters, Gauge, Level, Registry, TelemetryError};

/// The metrics of the audit log.
#[derive(Debug)]
pub(super) struct AuditMetrics {
    /// Events sealed by this service, by kind.
    pub(super) sealed: Counters,
    /// Events that wait to be sealed.
    pub(super) unsealed: Level,
    /// Age of the oldest of them.
    pub(super) lag: Gauge,
    /// Rounds of the sealer that failed.
    pub(super) failures: Counter,
    /// Refusals by a rate limit without an event, because too many networks gathered.
    pub(super) dropped: Counter,
}

impl AuditMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, TelemetryError> {
        let kinds: Vec<_> = event_kinds().collect();
        Ok(Self {
            sealed: registry.counters_of("audit_sealed_total", "Audit events sealed.", "kind", &kinds)?,
            unsealed: registry.level("audit_unsealed", "Audit events that wait to be sealed.")?,
            lag: registry.gauge("audit_lag_seconds", "Age of the oldest event that waits to be sealed.")?,
            failures: registry.counter("audit_failures_total", "Rounds of the sealer that failed.")?,
            dropped: registry
                .counter("audit_dropped_total", "Refusals by a rate limit that no audit event tells of.")?,
        })
    }
}
