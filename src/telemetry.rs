//! What the service tells of itself: structured logs and Prometheus metrics.
//!
//! Metrics live in a registry of the service's own, so that several services in one process (as in the tests) keep apart.

mod health;
mod json;
mod lines;
mod metrics;

use std::io::{self, IsTerminal, stderr};
use std::sync::Arc;

use thiserror::Error;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Telemetry};
pub use health::{Health, Part};
use json::Json;
use lines::{Lines, Writer};
pub use metrics::{Counter, Level, Metrics, Times, seconds};

/// Why logs or metrics can't be had.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// `telemetry.log_filter` is no filter.
    #[error(
        "telemetry.log_filter does not parse: {0}; give error, warn, info, debug, trace or directives of EnvFilter"
    )]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The system gives no thread.
    #[error("no thread to write the log: {0}; raise the limit on threads")]
    Thread(#[from] io::Error),
    /// Two metrics of one name, or a bad name: a mistake in the program.
    #[error("metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Sends log events to standard error, one line each, for as long as the answer lives. The first call of a process decides;
/// later ones change nothing.
///
/// # Errors
/// [`TelemetryError::Filter`], [`TelemetryError::Thread`].
pub fn start_logging(config: &Telemetry) -> Result<Writer, TelemetryError> {
    let filter = EnvFilter::try_new(&config.log_filter)?;
    let json = match config.log_format {
        LogFormat::Auto => !stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let lines = Arc::new(Lines::default());
    let writer = Writer::start(Arc::clone(&lines), stderr())?;
    let layer = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines);
    // An earlier subscriber stays: the first call decides.
    let _ = if json { layer.event_format(Json).try_init() } else { layer.with_ansi(stderr().is_terminal()).try_init() };
    Ok(writer)
}
