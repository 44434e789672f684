//! What became of the requests of a load.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::Outcome;

/// The longest latency that is told from longer ones, in microseconds: two minutes.
const LONGEST_US: u64 = 120_000_000;

/// Counts and latencies.
#[derive(Debug)]
pub(crate) struct Report {
    /// Answers that came within it count for the rate.
    pub(crate) window: Duration,
    in_window: u64,
    served: Histogram<u64>,
    refused: Histogram<u64>,
    failed: u64,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// 2xx.
    Served,
    /// 429 or 503.
    Refused,
    /// Anything else, a broken connection included.
    Failed,
}

impl End {
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Served,
            429 | 503 => Self::Refused,
            _ => Self::Failed,
        }
    }
}

impl Report {
    pub(crate) fn new(window: Duration) -> Outcome<Self> {
        let histogram = || Histogram::new_with_bounds(1, LONGEST_US, 3);
        Ok(Self { window, in_window: 0, served: histogram()?, refused: histogram()?, failed: 0 })
    }

    /// Counts one request.
    pub(crate) fn add(&mut self, end: End, latency: Duration, is_in_window: bool) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        match end {
            End::Served => {
                self.served.saturating_record(micros);
                self.in_window += u64::from(is_in_window);
            }
            End::Refused => self.refused.saturating_record(micros),
            End::Failed => self.failed += 1,
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) -> Outcome<()> {
        self.served.add(&other.served)?;
        self.refused.add(&other.refused)?;
        self.failed += other.failed;
        self.in_window += other.in_window;
        Ok(())
    }

    /// Requests served per second.
    pub(crate) fn rate(&self) -> f64 {
        count(self.in_window) / self.window.as_secs_f64()
    }

    /// The latency in seconds that the share `q` of all requests met. Infinite where fewer were served at all.
    pub(crate) fn quantile(&self, q: f64) -> f64 {
        let all = count(self.served.len() + self.refused.len() + self.failed);
        let of_served = q * all / count(self.served.len());
        if of_served <= 1.0 { micros(self.served.value_at_quantile(of_served)) } else { f64::INFINITY }
    }

    /// The longest latency of a request that was served, in seconds.
    pub(crate) fn longest(&self) -> f64 {
        micros(self.served.max())
    }

    /// The latency in seconds that the share `q` of the refusals met; 0 where there was none.
    pub(crate) fn refused_quantile(&self, q: f64) -> f64 {
        micros(self.refused.value_at_quantile(q))
    }

    /// Words about what was not served, for a note.
    pub(crate) fn unserved(&self) -> String {
        match (self.refused.len(), self.failed) {
            (0, 0) => String::new(),
            (refused, 0) => format!(", {refused} refused"),
            (0, failed) => format!(", {failed} failed"),
            (refused, failed) => format!(", {refused} refused, {failed} failed"),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn count(n: u64) -> f64 {
    n as f64
}

fn micros(n: u64) -> f64 {
    count(n) / 1e6
}
