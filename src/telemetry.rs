//! What the service tells of itself: structured logs and Prometheus metrics.
//!
//! Metrics live in a registry of the service's own, so that several services in one process (as in the tests) keep apart.

mod health;
mod json;
mod lines;
mod registry;

use std::io::{self, IsTerminal, stderr};
use std::sync::Arc;

use thiserror::Error;
use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, Telemetry};
pub use health::{Health, Part};
use json::Json;
use lines::{Lines, Writer};
pub use registry::{
    Counter, Counters, Gauge, Histogram, Histograms, LateLevel, Level, Levels, REQUEST_TIMES, Registry,
};

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
/// `usual` is the level where `telemetry.log_filter` sets none. Of other crates only warnings and errors are logged, whatever the filter says: at lower levels they log what they work
/// with, such as the parameters of a statement.
///
/// # Errors
/// [`TelemetryError::Filter`], [`TelemetryError::Thread`].
pub fn start_logging(config: &Telemetry, usual: tracing::Level) -> Result<Writer, TelemetryError> {
    let filter = EnvFilter::try_new(config.log_filter.as_deref().unwrap_or(usual.as_str()))?;
    let json = match config.log_format {
        LogFormat::Auto => !stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let lines = Arc::new(Lines::default());
    let writer = Writer::start(Arc::clone(&lines), stderr())?;
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(is_loggable));
    let layer = tracing_subscriber::fmt::layer().with_writer(lines);
    // An earlier subscriber stays: the first call decides.
    let _ = if json {
        registry.with(layer.event_format(Json)).try_init()
    } else {
        registry.with(layer.with_ansi(stderr().is_terminal())).try_init()
    };
    Ok(writer)
}

/// Whether an event may be logged at all.
fn is_loggable(event: &Metadata<'_>) -> bool {
    let is_of =
        |name| event.target().strip_prefix(name).is_some_and(|rest: &str| rest.is_empty() || rest.starts_with("::"));
    // A client of HTTP/2 can have its library warn with every frame, and so fill the disk.
    let least = if is_of("h2") { tracing::Level::ERROR } else { tracing::Level::WARN };
    is_of("rollcall") || *event.level() <= least
}
