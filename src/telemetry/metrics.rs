//! Every metric of the service, in a registry of its own.

use std::time::Duration;

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector,
};

#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;

use super::TelemetryError;

/// A count that only grows, for parts that count something themselves.
pub type Counter = IntCounter;

/// A whole number that goes up and down, likewise.
pub type Level = IntGauge;

/// How long something took each time, likewise.
pub type Times = Histogram;

/// Every metric of the service. Times are in seconds, as Prometheus has it.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests answered, by route and status.
    pub http_requests: IntCounterVec,
    /// From a request's headers to its answer's, by route.
    pub http_duration: HistogramVec,
    /// Connections open.
    pub http_connections: IntGauge,
    /// Of them, those that nothing happens on.
    pub http_connections_idle: IntGauge,
    /// Connections closed at once because their network had too many.
    pub http_connections_refused: IntCounter,
    /// Times that the system let no connection be accepted, by listener.
    pub accept_errors: IntCounterVec,
    /// Requests that the admin listener has answered, by status.
    pub admin_requests: IntCounterVec,
    /// When the certificate in service expires, in seconds since 1970. Not told before [`Self::tell`].
    pub tls_certificate_expiry: IntGauge,
    /// Certificates put into service, or kept out of it, by outcome.
    pub tls_certificate_loads: IntCounterVec,
    /// Connections that did not get through their TLS handshake, by reason.
    pub tls_handshake_failures: IntCounterVec,
    /// Jobs waiting for a hasher.
    pub hash_queue_depth: IntGauge,
    /// From a job's arrival to its start.
    pub hash_wait: Histogram,
    /// From a job's start to its end.
    pub hash_duration: Histogram,
    /// Jobs refused, by reason.
    pub hash_refusals: IntCounterVec,
    /// Jobs dropped before their start because nobody waited for them any more.
    pub hash_abandoned: IntCounter,
    /// Panics of hash engines.
    pub hash_engine_panics: Counter,
    /// Hashes a second at the configured cost that all engines together manage, as last measured.
    pub hash_capacity: Gauge,
    /// Hashes being computed.
    pub hash_lanes_busy: IntGauge,
    /// Estimated wait of a job that came now.
    pub hash_wait_estimate: Gauge,
    /// Connections of the pool, by state: in use, idle.
    pub pool_connections: IntGaugeVec,
    /// Batches waiting for a connection.
    pub pool_waiting: IntGauge,
    /// Requests answered by one statement, by statement.
    pub batch_size: HistogramVec,
    /// Time that one statement took, its wait for a connection included, by statement.
    pub statement_duration: HistogramVec,
    /// Statements that failed or ran out of time, by statement.
    pub statement_failures: IntCounterVec,
    /// 1 where the database answered when it was last asked.
    pub database_up: IntGauge,
    /// Times that the private cluster's server ended and was started again.
    pub db_restarts: Counter,
    /// Logins that were let through to the password check.
    pub attempts_admitted: IntCounter,
    /// Logins that had to wait for others of their account, or for a pause to end.
    pub attempts_waited: IntCounter,
    /// Logins refused before their password was checked, by reason.
    pub attempts_refused: IntCounterVec,
    /// Locks begun.
    pub attempts_locks: IntCounter,
    /// Counters deleted.
    pub attempts_reaped: IntCounter,
    /// Keys of the ring but for the secret, by state.
    pub signing_keys: IntGaugeVec,
    /// Keys that should sign and can't: unreadable or out of form.
    pub signing_keys_unusable: IntGauge,
    /// Times that the table of keys could not be read.
    pub key_read_failures: Counter,
    /// Requests that rate limits let pass or refused, by class and outcome.
    pub limit_decisions: IntCounterVec,
    /// Networks that have a token bucket of their own, by class.
    pub limit_keys: IntGaugeVec,
    /// Requests counted in a shared bucket, because `limits.keys_max` networks had one of their own.
    pub limit_overflows: Counter,
    /// Requests counted on this replica alone, because Redis was away.
    pub limit_redis_fallbacks: Counter,
    /// 1 while Redis answers. Not told before [`Self::tell`].
    pub limit_redis_up: Level,
    /// Actors and loops started again after their death, by part.
    pub restarts: IntCounterVec,
    /// Audit events sealed by this service, by kind.
    pub audit_sealed: IntCounterVec,
    /// Audit events that wait to be sealed.
    pub audit_unsealed: IntGauge,
    /// Age of the oldest of them.
    pub audit_lag: Gauge,
    /// Rounds of the sealer that failed.
    pub audit_failures: IntCounter,
    /// Refusals by a rate limit that no event tells of.
    pub audit_dropped: IntCounter,
}

impl Metrics {
    /// A registry with every metric at zero.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    #[expect(clippy::too_many_lines, reason = "a list")]
    pub fn new() -> Result<Self, TelemetryError> {
        let registry = Registry::new();
        let add = Register(&registry);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let build = add.adopt(IntGaugeVec::new(opts("build_info", "1, labelled with the version."), &["version"])?)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        // Upper bounds from half a millisecond (a profile) to thirty seconds (a request that queued as long as it may).
        let request_times =
            vec![0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let statement_times = vec![0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
        let batch_sizes = vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
        Ok(Self {
            http_requests: add.counters("http_requests_total", "Requests answered.", &["route", "status"])?,
            http_duration: add.histograms(
                "http_request_duration_seconds",
                "Time to answer.",
                &["route"],
                &request_times,
            )?,
            http_connections: add.gauge("http_connections", "Connections open.")?,
            http_connections_idle: add.gauge("http_connections_idle", "Connections that nothing happens on.")?,
            http_connections_refused: add.counter(
                "http_connections_refused_total",
                "Connections closed at once because their network had or began too many.",
            )?,
            accept_errors: add.counters(
                "http_accept_errors_total",
                "Times that the system let no connection be accepted.",
                &["listener"],
            )?,
            admin_requests: add.counters("admin_requests_total", "Requests to the admin listener.", &["status"])?,
            tls_certificate_expiry: IntGauge::with_opts(opts(
                "tls_certificate_expiry_timestamp_seconds",
                "When the certificate in service expires.",
            ))?,
            tls_certificate_loads: add.counters(
                "tls_certificate_loads_total",
                "Certificates put into service, or kept out of it.",
                &["outcome"],
            )?,
            tls_handshake_failures: add.counters(
                "tls_handshake_failures_total",
                "Connections without a completed TLS handshake.",
                &["reason"],
            )?,
            hash_queue_depth: add.gauge("hash_queue_depth", "Jobs waiting for a hasher.")?,
            hash_wait: add.histogram("hash_wait_seconds", "Time a job waited for its start.", &request_times)?,
            hash_duration: add.histogram(
                "hash_duration_seconds",
                "Time from a job's start to its end.",
                &request_times,
            )?,
            hash_refusals: add.counters("hash_refusals_total", "Jobs refused.", &["reason"])?,
            hash_abandoned: add.counter("hash_abandoned_total", "Jobs dropped because their caller had gone.")?,
            hash_engine_panics: add.counter("hash_engine_panics_total", "Panics of hash engines.")?,
            hash_capacity: add.adopt(Gauge::with_opts(opts(
                "hash_capacity_per_second",
                "Hashes a second at the configured cost.",
            ))?)?,
            hash_lanes_busy: add.gauge("hash_lanes_busy", "Hashes being computed.")?,
            hash_wait_estimate: add
                .adopt(Gauge::with_opts(opts("hash_wait_estimate_seconds", "Wait of a job that came now."))?)?,
            pool_connections: add
                .adopt(IntGaugeVec::new(opts("db_pool_connections", "Connections of the pool."), &["state"])?)?,
            pool_waiting: add.gauge("db_pool_waiting", "Batches waiting for a connection.")?,
            batch_size: add.histograms(
                "db_batch_size",
                "Requests answered by one statement.",
                &["statement"],
                &batch_sizes,
            )?,
            statement_duration: add.histograms(
                "db_statement_duration_seconds",
                "Time of one statement.",
                &["statement"],
                &statement_times,
            )?,
            statement_failures: add.counters(
                "db_statement_failures_total",
                "Statements that failed.",
                &["statement"],
            )?,
            database_up: add.gauge("database_up", "1 where the database answered when it was last asked.")?,
            db_restarts: add
                .counter("db_restarts_total", "Ends of the private cluster's server while it was needed.")?,
            attempts_admitted: add.counter("attempts_admitted_total", "Logins let through to the password check.")?,
            attempts_waited: add.counter("attempts_waited_total", "Logins that waited for others of their account.")?,
            attempts_refused: add.counters("attempts_refused_total", "Logins refused unchecked.", &["reason"])?,
            attempts_locks: add.counter("attempts_locks_total", "Locks begun.")?,
            attempts_reaped: add.counter("attempts_reaped_total", "Counters of attempts deleted.")?,
            signing_keys: add.adopt(IntGaugeVec::new(opts("signing_keys", "Keys of the ring."), &["state"])?)?,
            signing_keys_unusable: add.gauge("signing_keys_unusable", "Keys that should sign and can't.")?,
            key_read_failures: add
                .counter("signing_keys_read_failures_total", "Times that the table of keys could not be read.")?,
            limit_decisions: add.counters(
                "limit_decisions_total",
                "Requests that rate limits let pass or refused.",
                &["class", "outcome"],
            )?,
            limit_keys: add
                .adopt(IntGaugeVec::new(opts("limit_keys", "Networks with a token bucket."), &["class"])?)?,
            limit_overflows: add.counter("limit_overflows_total", "Requests counted in a shared token bucket.")?,
            limit_redis_fallbacks: add
                .counter("limit_redis_fallbacks_total", "Requests counted without Redis, which was away.")?,
            limit_redis_up: IntGauge::with_opts(opts("limit_redis_up", "1 while Redis answers."))?,
            restarts: add.counters("restarts_total", "Actors and loops started again after their death.", &["part"])?,
            audit_sealed: add.counters("audit_sealed_total", "Audit events sealed.", &["kind"])?,
            audit_unsealed: add.gauge("audit_unsealed", "Audit events that wait to be sealed.")?,
            audit_lag: add.adopt(Gauge::with_opts(opts(
                "audit_lag_seconds",
                "Age of the oldest event that waits to be sealed.",
            ))?)?,
            audit_failures: add.counter("audit_failures_total", "Rounds of the sealer that failed.")?,
            audit_dropped: add
                .counter("audit_dropped_total", "Refusals by a rate limit that no audit event tells of.")?,
            registry,
        })
    }

    /// Tells a gauge from now on. That of a part which is not in use would say that the part has failed.
    pub fn tell(&self, gauge: &IntGauge) {
        // It may be told already.
        let _ = self.registry.register(Box::new(gauge.clone()));
    }

    /// All metrics in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be encoded");
        }
        text
    }
}

/// Seconds of a duration, for a histogram.
#[must_use]
pub fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

struct Register<'a>(&'a Registry);

impl Register<'_> {
    fn adopt<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(collector.clone())).map(|()| collector)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.adopt(IntCounter::with_opts(opts(name, help))?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.adopt(IntCounterVec::new(opts(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.adopt(IntGauge::with_opts(opts(name, help))?)
    }

    fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Result<Histogram, prometheus::Error> {
        let options = HistogramOpts { common_opts: opts(name, help), buckets: bounds.to_vec() };
        self.adopt(Histogram::with_opts(options)?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        bounds: &[f64],
    ) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts { common_opts: opts(name, help), buckets: bounds.to_vec() };
        self.adopt(HistogramVec::new(options, labels)?)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("rollcall")
}
