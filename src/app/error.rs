//! Why a service does not start.

use thiserror::Error;

use super::SecretError;
use crate::database::DatabaseError;
use crate::features::tokens::handle::KeyringError;
use crate::hashing::engine::StartError;
use crate::http::limits::shared::SharedError;
use crate::http::tls::TlsError;
use crate::telemetry::TelemetryError;

/// Why the service does not start.
#[derive(Debug, Error)]
pub enum AppError {
    /// An address that can't be listened on.
    #[error("cannot listen on {addr}: {cause}; choose another with {key}, or stop what uses it")]
    Listen {
        /// The address.
        addr: String,
        /// The keys that set it.
        key: &'static str,
        /// The error of the system.
        cause: std::io::Error,
    },
    /// No database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// No hash engines.
    #[error(transparent)]
    Hashing(#[from] StartError),
    /// No certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No secret to sign tokens with.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// No keys to sign tokens with.
    #[error(transparent)]
    Keys(#[from] KeyringError),
    /// No shared rate limits.
    #[error(transparent)]
    Limits(#[from] SharedError),
    /// No logs or metrics.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// A part of the service failed at once.
    #[error("the service cannot be put together: {0}")]
    Assembly(String),
}
