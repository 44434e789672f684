//! Rate limits: how many requests of a kind one network may make, in a burst and in the long run.
//!
//! Each class of routes has a token bucket for each network. The buckets are in this process ([`local`]), or, with
//! `limits.redis_url`, in a Redis that all replicas share ([`shared`]); while it is away, each replica counts alone.
//! The answers of limited routes say what is left (draft-ietf-httpapi-ratelimit-headers-11).

pub mod class;
pub mod local;
pub mod metrics;
pub mod shared;

use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::interval;

use super::error::Refusal;
use crate::config;
use crate::crypto::pseudonym::Pseudonyms;
use crate::domain::network::Network;
use crate::telemetry::Counter;
use class::Class;
use local::Buckets;
use metrics::LimitMetrics;
use shared::{Shared, SharedError};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Of one network in one class, the limit's event is told no more often: who hammers would fill the record.
const NEWS: config::Rate = config::Rate { period: Duration::from_mins(1), burst: NonZeroU32::MIN };
/// How often buckets that are full again are thrown away. They are as good as none.
const SWEEP: Duration = Duration::from_secs(1);

/// What a bucket says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may pass, and so many more at once.
    Allowed {
        /// Tokens left.
        remaining: u32,
    },
    /// It may not, until then.
    Refused {
        /// Until there is a token again.
        retry_after: Duration,
    },
}

/// The limits of all classes.
#[derive(Debug)]
pub struct Limits {
    all: Vec<Limit>,
    shared: Option<Shared>,
    metrics: Arc<LimitMetrics>,
}

/// The limit of one class.
#[derive(Debug)]
struct Limit {
    name: &'static str,
    rate: config::Rate,
    buckets: Buckets,
    /// Of the /56s and /48s that IPv6 networks lie in.
    wide: [Buckets; 2],
    news: Buckets,
    /// `"login";q=240;w=120`
    policy: HeaderValue,
    allowed: Counter,
    refused: Counter,
}

/// What the limits say to one request, and its answer of them.
#[derive(Debug, Clone, Copy)]
pub struct Admission<'a> {
    limit: Option<&'a Limit>,
    decision: Option<Decision>,
}

impl Limits {
    /// Those that `[limits]` sets.
    ///
    /// # Errors
    /// [`SharedError`] where `limits.redis_url` can't be used.
    pub fn new(
        config: &config::Limits,
        pseudonyms: Arc<Pseudonyms>,
        metrics: LimitMetrics,
    ) -> Result<Self, SharedError> {
        let (rates, metrics) = (&config.rates, Arc::new(metrics));
        let limits = if config.enabled { rates.classes.as_slice() } else { &[] };
        let limit = |(name, rate): &(&'static str, config::Rate)| Limit::new(name, *rate, rates.keys_max, &metrics);
        let shared = match &rates.redis_url {
            Some(url) if config.enabled => {
                Some(Shared::new(url, rates.redis_timeout, pseudonyms, Arc::clone(&metrics))?)
            }
            _ => None,
        };
        Ok(Self { all: limits.iter().map(limit).collect(), shared, metrics })
    }

    /// The limit of `class`, where one is in force.
    pub(super) fn position(&self, class: Class) -> Option<usize> {
        self.all.iter().position(|limit| limit.name == class.name)
    }

    /// Takes a token of the limit at `at` for a request from `network`, if there is one. Without a limit there always is.
    pub async fn admit(&self, at: Option<usize>, network: Network) -> Admission<'_> {
        let mut admission = self.pending(at);
        let Some(limit) = admission.limit else { return admission };
        let shared = match &self.shared {
            // Boxed, because hyper keeps room on every connection for the largest answer in the making.
            Some(shared) if shared.is_there() => Box::pin(shared.take(limit.name, limit.rate, network)).await,
            Some(shared) => shared.pass(),
            None => None,
        };
        let mut decision = shared.unwrap_or_else(|| limit.buckets.take(network));
        // Whoever has a site's /48 has 65,536 networks, and would have as many buckets.
        if let (Decision::Allowed { .. }, Some(around)) = (decision, network.around()) {
            let refusal = limit.wide.iter().zip(around).map(|(buckets, network)| buckets.take(network));
            decision =
                refusal.into_iter().find(|decision| matches!(decision, Decision::Refused { .. })).unwrap_or(decision);
        }
        match decision {
            Decision::Allowed { .. } => limit.allowed.inc(),
            Decision::Refused { .. } => limit.refused.inc(),
        }
        admission.decision = Some(decision);
        admission
    }

    /// What can be said of a request before it was asked about.
    pub(super) fn pending(&self, at: Option<usize>) -> Admission<'_> {
        Admission { limit: at.and_then(|at| self.all.get(at)), decision: None }
    }

    /// Looks for Redis once, so that the first requests are counted there already.
    pub async fn open(&self) {
        if let Some(shared) = &self.shared {
            shared.open().await;
        }
    }

    /// Throws away what is not needed any more, until dropped.
    pub async fn sweep(self: Arc<Self>) {
        let mut sweeps = interval(SWEEP);
        loop {
            sweeps.tick().await;
            for limit in &self.all {
                limit.buckets.sweep();
                limit.wide.iter().for_each(Buckets::sweep);
                limit.news.sweep();
            }
            self.report();
        }
    }

    /// Keeps the connection to Redis, until dropped; ends at once where there is none to keep.
    pub async fn follow_redis(self: Arc<Self>) {
        if let Some(shared) = &self.shared {
            shared.run().await;
        }
    }

    /// Counts requests that had to share a bucket.
    #[must_use]
    pub fn overflows(&self) -> Counter {
        self.metrics.overflows.clone()
    }

    /// Sets the gauges.
    pub(super) fn report(&self) {
        for limit in &self.all {
            let held = i64::try_from(limit.buckets.held()).unwrap_or(i64::MAX);
            self.metrics.keys.with_label_values(&[limit.name]).set(held);
        }
    }
}

impl Limit {
    fn new(name: &'static str, rate: config::Rate, keys_max: usize, metrics: &LimitMetrics) -> Self {
        // In this time an empty bucket fills up.
        let window = whole_seconds(rate.period.saturating_mul(rate.burst.get()));
        let policy = HeaderValue::try_from(format!("\"{name}\";q={};w={window}", rate.burst));
        let count = |outcome| metrics.decisions.with_label_values(&[name, outcome]);
        Self {
            name,
            rate,
            buckets: Buckets::new(rate, keys_max, metrics.overflows.clone()),
            wide: WIDER.map(|times| Buckets::new(wider(rate, times), keys_max, metrics.overflows.clone())),
            news: Buckets::new(NEWS, keys_max, metrics.overflows.clone()),
            policy: policy.unwrap_or_else(|_| HeaderValue::from_static("")),
            allowed: count("allowed"),
            refused: count("refused"),
        }
    }
}

impl Admission<'_> {
    /// Whether a refusal to `network` is to be logged: once a minute and site.
    pub(super) fn should_log(&self, network: Network) -> bool {
        // Of a whole site once: whoever has its /48 could have a line written for each of 65,536 networks.
        let [_, site] = network.around().unwrap_or([network; 2]);
        self.limit.is_some_and(|limit| matches!(limit.news.take(site), Decision::Allowed { .. }))
    }

    /// What the limit is called, where there is one.
    pub(super) fn name(&self) -> Option<&'static str> {
        self.limit.map(|limit| limit.name)
    }

    /// The refusal, where there was no token.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self.decision? {
            Decision::Allowed { .. } => None,
            Decision::Refused { retry_after } => Some(Refusal::rate_limited(retry_after)),
        }
    }

    /// Tells the limit, and what is left of it if it was asked.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let Some(limit) = self.limit else { return };
        headers.insert(RATE_LIMIT_POLICY, limit.policy.clone());
        // `t`: the time until the bucket gains a token at the latest, so that `r` is all there is until then.
        let (remaining, time) = match self.decision {
            Some(Decision::Allowed { remaining }) => (remaining, limit.rate.period),
            Some(Decision::Refused { retry_after }) => (0, retry_after),
            None => return,
        };
        let mut text = String::with_capacity(48);
        // Writing to a String can't fail.
        let _ = write!(text, "\"{}\";r={remaining};t={}", limit.name, whole_seconds(time));
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(RATE_LIMIT, value);
        }
    }
}

/// How many times the rate of an IPv6 network the /56 and the /48 around it have.
pub(crate) const WIDER: [u32; 2] = [4, 16];

/// A rate of so many times as much.
pub(crate) fn wider(rate: config::Rate, times: u32) -> config::Rate {
    config::Rate {
        period: rate.period / times,
        burst: rate.burst.saturating_mul(NonZeroU32::new(times).unwrap_or(NonZeroU32::MIN)),
    }
}

/// Rounded up, at least one.
fn whole_seconds(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}
