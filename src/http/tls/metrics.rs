//! Metrics of TLS to clients.

use crate::telemetry::{Counters, LateLevel, Registry, TelemetryError};

/// The metrics of TLS to clients.
#[derive(Debug)]
pub struct TlsMetrics {
    /// When the certificate in service expires, in seconds since 1970; absent without a certificate.
    pub(super) certificate_expiry: LateLevel,
    /// Certificates put into service, or kept out of it, by outcome.
    pub(super) certificate_loads: Counters,
    /// Connections without a completed handshake, by reason.
    pub(super) handshake_failures: Counters,
}

impl TlsMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    pub fn register(registry: &Registry) -> Result<Self, TelemetryError> {
        Ok(Self {
            certificate_expiry: LateLevel::new(
                registry,
                "tls_certificate_expiry_timestamp_seconds",
                "When the certificate in service expires.",
            )?,
            certificate_loads: registry.counters(
                "tls_certificate_loads_total",
                "Certificates put into service, or kept out of it.",
                &["outcome"],
            )?,
            handshake_failures: registry.counters(
                "tls_handshake_failures_total",
                "Connections without a completed TLS handshake.",
                &["reason"],
            )?,
        })
    }
}
