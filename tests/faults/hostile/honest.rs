//! Clients who only want to know who they are.

use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::Request;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::harness::{Api, soon};

/// How many ask side by side.
const CLIENTS: usize = 4;
/// From one question of a client to its next.
const PACE: Duration = Duration::from_millis(10);
/// Every so many questions, a client comes anew, over a connection of its own.
const ANEW: usize = 10;
/// The fewest questions of one measurement.
const QUESTIONS: usize = 800;
/// The longest that an answer may take, on however busy a machine; what takes longer has been kept from its service.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// The token of an account that exists.
#[derive(Clone)]
pub struct Honest(String);

/// How long answers took: of each quantile, the median over the measurements.
pub struct Latency {
    pub p50: Duration,
    pub p99: Duration,
}

impl Honest {
    pub async fn join(api: &Api) -> Self {
        api.register_john().await;
        Self(api.token().await)
    }

    /// Asks in so many measurements one after the other, in each until there are answers enough and `done` says so too.
    pub async fn watch(&self, api: &Api, times: usize, done: impl Fn() -> bool + Clone + Send + 'static) -> Latency {
        let (mut p50s, mut p99s) = (Vec::new(), Vec::new());
        for _ in 0..times {
            let latencies = self.ask(api, done.clone()).await;
            p50s.push(quantile(&latencies, 0.5));
            p99s.push(quantile(&latencies, 0.99));
        }
        p50s.sort_unstable();
        p99s.sort_unstable();
        Latency { p50: quantile(&p50s, 0.5), p99: quantile(&p99s, 0.5) }
    }

    /// One measurement: how long the answers took, sorted. Every one of them has to be the profile.
    async fn ask(&self, api: &Api, done: impl Fn() -> bool + Clone + Send + 'static) -> Vec<Duration> {
        let mut clients: JoinSet<_> =
            (0..CLIENTS).map(|_| client(Api::new(api.addr), self.0.clone(), done.clone())).collect();
        let mut all = Vec::new();
        while let Some(latencies) = soon("the honest clients' answers", clients.join_next()).await {
            all.extend(latencies.unwrap());
        }
        all.sort_unstable();
        all
    }
}

async fn client(mut api: Api, token: String, done: impl Fn() -> bool) -> Vec<Duration> {
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut latencies = Vec::new();
    while latencies.len() < QUESTIONS / CLIENTS || !done() {
        ticks.tick().await;
        if latencies.len().is_multiple_of(ANEW) {
            api = Api::new(api.addr);
        }
        let request: Request<Full<_>> = api
            .request("GET", "/api/users/me")
            .header("authorization", format!("Bearer {token}"))
            .body(Full::default())
            .unwrap();
        let sent = Instant::now();
        let answer = api.try_send(request).await;
        let took = sent.elapsed();
        let answer = answer.unwrap_or_else(|error| panic!("an honest client was cut off: {error:?}"));
        answer.expect_json(200);
        assert!(took < ANSWER_LIMIT, "an honest client waited for {took:?}");
        latencies.push(took);
    }
    latencies
}

/// Of what is sorted.
fn quantile(sorted: &[Duration], quantile: f64) -> Duration {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few thousand"
    )]
    let at = (sorted.len() as f64 * quantile) as usize;
    sorted[at.min(sorted.len() - 1)]
}
