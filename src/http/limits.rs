//! Rate limits: how many requests of a kind one network may make, in a burst and in the long run.
//!
//! Each class of routes has a token bucket for each network. The buckets are in this process ([`local`]), or, with
//! `limits.redis_url`, in a Redis that all replicas share ([`shared`]); while it is away, each replica counts alone.
//! The answers of limited routes carry the tokens left (draft-ietf-httpapi-ratelimit-headers-11).

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
/// The rate of log lines about one site and class: a client that hammers would fill the log.
const LOG_RATE: config::Rate = config::Rate { period: Duration::from_mins(1), burst: NonZeroU32::MIN };
/// How often full buckets are dropped. A new bucket is full as well.
const SWEEP: Duration = Duration::from_secs(1);

/// A bucket's decision about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The request passes.
    Allowed {
        /// Tokens left.
        remaining: u32,
    },
    /// The request is refused.
    Refused {
        /// Time until the next token.
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
    /// Buckets of the /56s and /48s around IPv6 networks.
    wide: [Buckets; 2],
    logged: Buckets,
    /// `"login";q=240;w=120`
    policy: HeaderValue,
    allowed: Counter,
    refused: Counter,
}

/// The limits' decision about one request.
#[derive(Debug, Clone, Copy)]
pub struct Admission<'a> {
    limit: Option<&'a Limit>,
    decision: Option<Decision>,
}

impl Limits {
    /// The limits that `[limits]` configures.
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

    /// Takes a token of the limit at `at` for a request from `network`, if there is one. Without a limit, every request
    /// passes.
    pub async fn admit(&self, at: Option<usize>, network: Network) -> Admission<'_> {
        let mut admission = self.pending(at);
        let Some(limit) = admission.limit else { return admission };
        let shared = match &self.shared {
            // Boxed, because hyper keeps room for the largest future of a handler on every connection.
            Some(shared) if shared.is_there() => Box::pin(shared.take(limit.name, limit.rate, network)).await,
            Some(shared) => shared.pass(),
            None => None,
        };
        let mut decision = shared.unwrap_or_else(|| limit.buckets.take(network));
        // A site with a /48 has 65,536 networks, and would have as many buckets.
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

    /// The admission of a request that the limits were not asked about yet.
    pub(super) fn pending(&self, at: Option<usize>) -> Admission<'_> {
        Admission { limit: at.and_then(|at| self.all.get(at)), decision: None }
    }

    /// Connects to Redis once, so that the first requests are counted there already.
    pub async fn open(&self) {
        if let Some(shared) = &self.shared {
            shared.open().await;
        }
    }

    /// Drops full buckets and sets the gauges, until dropped.
    pub async fn sweep(self: Arc<Self>) {
        let mut sweeps = interval(SWEEP);
        loop {
            sweeps.tick().await;
            for limit in &self.all {
                limit.buckets.sweep();
                limit.wide.iter().for_each(Buckets::sweep);
                limit.logged.sweep();
            }
            self.report();
        }
    }

    /// Keeps the connection to Redis, until dropped; ends at once without `limits.redis_url`.
    pub async fn follow_redis(self: Arc<Self>) {
        if let Some(shared) = &self.shared {
            shared.run().await;
        }
    }

    /// The counter of requests that share a bucket.
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
        // An empty bucket fills up in this time.
        let window = whole_seconds(rate.period.saturating_mul(rate.burst.get()));
        let policy = HeaderValue::try_from(format!("\"{name}\";q={};w={window}", rate.burst));
        let count = |outcome| metrics.decisions.with_label_values(&[name, outcome]);
        Self {
            name,
            rate,
            buckets: Buckets::new(rate, keys_max, metrics.overflows.clone()),
            wide: WIDER.map(|times| Buckets::new(wider(rate, times), keys_max, metrics.overflows.clone())),
            logged: Buckets::new(LOG_RATE, keys_max, metrics.overflows.clone()),
            policy: policy.unwrap_or_else(|_| HeaderValue::from_static("")),
            allowed: count("allowed"),
            refused: count("refused"),
        }
    }
}

impl Admission<'_> {
    /// Whether a refusal to `network` is to be logged: once a minute and site.
    pub(super) fn should_log(&self, network: Network) -> bool {
        // Once for a whole site: a client with a /48 could cause a line for each of its 65,536 networks.
        let [_, site] = network.around().unwrap_or([network; 2]);
        self.limit.is_some_and(|limit| matches!(limit.logged.take(site), Decision::Allowed { .. }))
    }

    /// The name of the limit, where there is one.
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

    /// Adds the headers: the limit's policy and, if the limit was asked, the tokens left.
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

/// How many times the rate of an IPv6 network applies to the /56 and the /48 around it.
pub(crate) const WIDER: [u32; 2] = [4, 16];

/// `rate`, `times` times as high.
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
