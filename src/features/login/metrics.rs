//! Metrics of attempts to log in.

use super::waiters::{FULL, LATE, LOCKED, PAUSED};
use crate::telemetry::{Counter, Counters, Registry, TelemetryError};

/// The metrics of attempts to log in.
#[derive(Debug)]
pub(super) struct AttemptMetrics {
    /// Logins that were let through to the password check.
    pub(super) admitted: Counter,
    /// Logins that waited for others of their account, or for a pause to end.
    pub(super) waited: Counter,
    /// Logins refused before their password was checked, by reason.
    pub(super) refused: Counters,
    /// Locks begun.
    pub(super) locks: Counter,
    /// Counters deleted.
    pub(super) reaped: Counter,
}

impl AttemptMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, TelemetryError> {
        let reasons = [LOCKED, PAUSED, LATE, FULL];
        Ok(Self {
            admitted: registry.counter("attempts_admitted_total", "Logins let through to the password check.")?,
            waited: registry.counter("attempts_waited_total", "Logins that waited for others of their account.")?,
            refused: registry.counters_of("attempts_refused_total", "Logins refused unchecked.", "reason", &reasons)?,
            locks: registry.counter("attempts_locks_total", "Locks begun.")?,
            reaped: registry.counter("attempts_reaped_total", "Counters of attempts deleted.")?,
        })
    }
}
