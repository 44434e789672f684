//! Answers counted by route and status.
//!
//! Finding a series hashes its labels under a lock. The series of nearly all requests are therefore kept here. Each is
//! created at its first use, so that unused ones are not exported.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::StatusCode;

use super::metrics::HttpMetrics;
use super::router::{Route, Router};
use crate::telemetry::{Counter, Histogram};

/// Label of requests without a route.
const UNKNOWN: &str = "unknown";

/// Counts the answers of the service.
#[derive(Debug)]
pub(super) struct RouteMetrics {
    metrics: Arc<HttpMetrics>,
    routes: Vec<Series>,
}

/// The series of one route.
#[derive(Debug, Default)]
struct Series {
    ok: OnceLock<Counter>,
    times: OnceLock<Histogram>,
}

impl RouteMetrics {
    pub(super) fn new(metrics: Arc<HttpMetrics>, router: &Router) -> Self {
        Self { metrics, routes: std::iter::repeat_with(Series::default).take(router.series()).collect() }
    }

    /// Counts one answer; returns its label.
    pub(super) fn count(&self, route: Option<&Route>, status: StatusCode, took: Duration) -> &'static str {
        let path = route.map_or(UNKNOWN, |route| route.label);
        let answers = || self.metrics.requests.with_label_values(&[path, status.as_str()]);
        let times = || self.metrics.duration.with_label_values(&[path]);
        let series = route.and_then(|route| self.routes.get(route.series));
        match series {
            Some(series) if status == StatusCode::OK => series.ok.get_or_init(answers).inc(),
            _ => answers().inc(),
        }
        match series {
            Some(series) => series.times.get_or_init(times).observe(took.as_secs_f64()),
            None => times().observe(took.as_secs_f64()),
        }
        path
    }
}
