//! The registry of one service's metrics. Each part registers its own few and keeps them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{Encoder as _, HistogramOpts, Opts, TextEncoder};

#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;

use super::TelemetryError;

/// A count that only grows.
pub type Counter = prometheus::IntCounter;
/// Counts by label.
pub type Counters = prometheus::IntCounterVec;
/// A whole number that goes up and down.
pub type Level = prometheus::IntGauge;
/// Such numbers by label.
pub type Levels = prometheus::IntGaugeVec;
/// A number that goes up and down.
pub type Gauge = prometheus::Gauge;
/// How values are distributed.
pub type Histogram = prometheus::Histogram;
/// Distributions by label.
pub type Histograms = prometheus::HistogramVec;

/// Upper bounds in seconds, from half a millisecond (a profile) to thirty seconds (a request that queued as long as it may).
pub const REQUEST_TIMES: &[f64] =
    &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// All metrics of one service. Their names begin with `rollcall_`; a name can be registered once. Times are in seconds, as
/// Prometheus has it.
///
/// Every method that registers fails with [`TelemetryError::Metrics`] where the name is taken or malformed.
#[derive(Debug, Clone)]
pub struct Registry {
    inner: prometheus::Registry,
    names: Arc<Mutex<BTreeSet<String>>>,
}

impl Registry {
    /// A registry with the metrics of the process and of the build.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    pub fn new() -> Result<Self, TelemetryError> {
        let registry = Self { inner: prometheus::Registry::new(), names: Arc::default() };
        #[cfg(target_os = "linux")]
        registry.inner.register(Box::new(ProcessCollector::for_self()))?;
        let build = registry.levels("build_info", "1, labelled with the version.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(registry)
    }

    /// Registers a counter.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    pub fn counter(&self, name: &str, help: &str) -> Result<Counter, TelemetryError> {
        self.add(Counter::with_opts(options(name, help))?)
    }

    /// Registers counters by label.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<Counters, TelemetryError> {
        self.add(Counters::new(options(name, help), labels)?)
    }

    /// Registers counters by one label, each of `values` at zero.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    pub fn counters_of(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: &[&str],
    ) -> Result<Counters, TelemetryError> {
        let counters = self.counters(name, help, &[label])?;
        for value in values {
            counters.with_label_values(&[value]);
        }
        Ok(counters)
    }

    /// Registers a level.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    pub fn level(&self, name: &str, help: &str) -> Result<Level, TelemetryError> {
        self.add(Level::with_opts(options(name, help))?)
    }

    /// Registers levels by label.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    pub fn levels(&self, name: &str, help: &str, labels: &[&str]) -> Result<Levels, TelemetryError> {
        self.add(Levels::new(options(name, help), labels)?)
    }

    /// Registers a gauge.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    pub fn gauge(&self, name: &str, help: &str) -> Result<Gauge, TelemetryError> {
        self.add(Gauge::with_opts(options(name, help))?)
    }

    /// Registers a histogram with these upper bounds.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    pub fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Result<Histogram, TelemetryError> {
        self.add(Histogram::with_opts(buckets(name, help, bounds))?)
    }

    /// Registers histograms by label with these upper bounds.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        bounds: &[f64],
    ) -> Result<Histograms, TelemetryError> {
        self.add(Histograms::new(buckets(name, help, bounds), labels)?)
    }

    /// All metrics in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.inner.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be encoded");
        }
        text
    }

    /// Names of all registered metrics, including those without a value.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, collector: &impl Collector) {
        let names = collector.desc().into_iter().map(|described| described.fq_name.clone());
        self.names.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
    }

    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, TelemetryError> {
        self.inner.register(Box::new(collector.clone()))?;
        self.note(&collector);
        Ok(collector)
    }
}

/// A level that is exported from its first value on. Exported as 0, it would report a failure of something that is not
/// in use.
#[derive(Debug)]
pub struct LateLevel {
    registry: Registry,
    level: Level,
}

impl LateLevel {
    /// A level that is not registered yet.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`] where the name is malformed.
    pub fn new(registry: &Registry, name: &str, help: &str) -> Result<Self, TelemetryError> {
        let level = Level::with_opts(options(name, help))?;
        registry.note(&level);
        Ok(Self { registry: registry.clone(), level })
    }

    /// Sets the level, which is exported from now on.
    pub fn set(&self, value: i64) {
        self.level.set(value);
        // From the second time on it is registered already.
        let _ = self.registry.inner.register(Box::new(self.level.clone()));
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("rollcall")
}

fn buckets(name: &str, help: &str, bounds: &[f64]) -> HistogramOpts {
    HistogramOpts { common_opts: options(name, help), buckets: bounds.to_vec() }
}
