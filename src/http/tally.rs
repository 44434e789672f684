//! Answers counted by route and status.
//!
//! The metrics find a series by hashing its labels under a lock. Those that nearly all requests count in are kept here
//! instead, from the first of them on: a series that nothing was counted in is not there.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::StatusCode;

use super::router::Route;
use crate::telemetry::{Counter, Metrics, Times, seconds};

/// What requests without a route are counted under.
const UNKNOWN: &str = "unknown";

/// Where the service counts its answers.
#[derive(Debug)]
pub(super) struct Tally {
    metrics: Arc<Metrics>,
    routes: [Series; Route::COUNT],
}

/// The series of one route.
#[derive(Debug, Default)]
struct Series {
    ok: OnceLock<Counter>,
    times: OnceLock<Times>,
}

impl Tally {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, routes: Default::default() }
    }

    /// Counts one answer; gives the name that it was counted under.
    pub(super) fn count(&self, route: Option<Route>, status: StatusCode, took: Duration) -> &'static str {
        let path = route.map_or(UNKNOWN, Route::path);
        let answers = || self.metrics.http_requests.with_label_values(&[path, status.as_str()]);
        let times = || self.metrics.http_duration.with_label_values(&[path]);
        let series = route.and_then(|route| self.routes.get(route as usize));
        match series {
            Some(series) if status == StatusCode::OK => series.ok.get_or_init(answers).inc(),
            _ => answers().inc(),
        }
        match series {
            Some(series) => series.times.get_or_init(times).observe(seconds(took)),
            None => times().observe(seconds(took)),
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_counts_in_the_series_of_its_route_and_status() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let tally = Tally::new(Arc::clone(&metrics));
        for _ in 0..2 {
            for (route, status) in
                [(Some(Route::Me), 200), (Some(Route::RedocScript), 200), (Some(Route::Me), 401), (None, 404)]
            {
                tally.count(route, StatusCode::from_u16(status).unwrap(), Duration::from_micros(1));
            }
        }
        let count = |labels: &[&str]| metrics.http_requests.with_label_values(labels).get();
        assert_eq!(count(&["/api/users/me", "200"]), 2);
        assert_eq!(count(&["/redoc/redoc.js", "200"]), 2);
        assert_eq!(count(&["/api/users/me", "401"]), 2);
        assert_eq!(count(&["unknown", "404"]), 2);
        let times = |label: &str| metrics.http_duration.with_label_values(&[label]).get_sample_count();
        assert_eq!((times("/api/users/me"), times("/redoc/redoc.js"), times("unknown")), (4, 2, 2));
    }
}
