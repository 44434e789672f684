//! Metrics of connections and statements.

use crate::telemetry::{Counter, Counters, Histograms, Registry, TelemetryError};

/// Upper bounds in seconds, from a tenth of a millisecond (a lookup) to the longest `database.timeout_ms` that makes sense.
const STATEMENT_TIMES: &[f64] = &[0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
/// Upper bounds of requests in a batch.
const BATCH_SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// The metrics of all statements. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StatementMetrics {
    /// Requests answered by one statement, by statement.
    pub(super) batch_size: Histograms,
    /// Time that one statement took, its wait for a connection included, by statement.
    pub(super) duration: Histograms,
    /// Statements that failed or ran out of time, by statement.
    pub(super) failures: Counters,
}

impl StatementMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    pub fn register(registry: &Registry) -> Result<Self, TelemetryError> {
        let labels = &["statement"];
        Ok(Self {
            batch_size: registry.histograms(
                "db_batch_size",
                "Requests answered by one statement.",
                labels,
                BATCH_SIZES,
            )?,
            duration: registry.histograms(
                "db_statement_duration_seconds",
                "Time of one statement.",
                labels,
                STATEMENT_TIMES,
            )?,
            failures: registry.counters("db_statement_failures_total", "Statements that failed.", labels)?,
        })
    }
}

/// Registers the counter of a private cluster's restarts.
///
/// # Errors
/// [`TelemetryError::Metrics`].
pub fn server_restarts(registry: &Registry) -> Result<Counter, TelemetryError> {
    registry.counter("db_restarts_total", "Ends of the private cluster's server while it was needed.")
}
