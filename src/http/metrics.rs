//! Metrics of the front end.

use crate::telemetry::{Counter, Counters, Histograms, Level, REQUEST_TIMES, Registry, TelemetryError};

/// The metrics of the front end.
#[derive(Debug)]
pub struct HttpMetrics {
    /// Requests answered, by route and status.
    pub(super) requests: Counters,
    /// From a request's head to its answer's, by route.
    pub(super) duration: Histograms,
    /// Connections open.
    pub(super) connections: Level,
    /// Idle connections among them.
    pub(super) connections_idle: Level,
    /// Connections closed at once because their network had too many.
    pub(super) connections_refused: Counter,
    /// Requests that the admin listener has answered, by status.
    pub(super) admin_requests: Counters,
    /// Failed accepts, by listener.
    pub(super) accept_errors: Counters,
}

impl HttpMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    pub fn register(registry: &Registry) -> Result<Self, TelemetryError> {
        Ok(Self {
            requests: registry.counters("http_requests_total", "Requests answered.", &["route", "status"])?,
            duration: registry.histograms(
                "http_request_duration_seconds",
                "Time to answer.",
                &["route"],
                REQUEST_TIMES,
            )?,
            connections: registry.level("http_connections", "Connections open.")?,
            connections_idle: registry.level("http_connections_idle", "Connections that nothing happens on.")?,
            connections_refused: registry.counter(
                "http_connections_refused_total",
                "Connections closed at once because their network had or began too many.",
            )?,
            admin_requests: registry.counters(
                "admin_requests_total",
                "Requests to the admin listener.",
                &["status"],
            )?,
            accept_errors: registry.counters(
                "http_accept_errors_total",
                "Times that the system let no connection be accepted.",
                &["listener"],
            )?,
        })
    }
}
