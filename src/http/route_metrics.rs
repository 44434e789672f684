//! Answers counted by route and status.
//!
//! The metrics find a series by hashing its labels under a lock. Those that nearly all requests count in are kept here
//! instead, from the first of them on: a series that nothing was counted in is not there.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::StatusCode;

use super::metrics::HttpMetrics;
use super::router::{Route, Router};
use crate::telemetry::{Counter, Histogram};

/// What requests without a route are counted under.
const UNKNOWN: &str = "unknown";

/// Where the service counts its answers.
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

    /// Counts one answer; gives the name that it was counted under.
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
