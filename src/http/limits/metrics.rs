//! Metrics of the rate limits.

use crate::telemetry::{Counter, Counters, LateLevel, Levels, Registry, TelemetryError};

/// The metrics of the rate limits.
#[derive(Debug)]
pub struct LimitMetrics {
    /// Requests that limits let pass or refused, by class and outcome.
    pub(super) decisions: Counters,
    /// Networks with a token bucket of their own, by class.
    pub(super) keys: Levels,
    /// Requests counted in a shared bucket, because `limits.keys_max` networks had one of their own.
    pub(super) overflows: Counter,
    /// Requests counted on this replica alone, because Redis was away.
    pub(super) redis_fallbacks: Counter,
    /// 1 while Redis answers; absent without Redis.
    pub(super) redis_up: LateLevel,
}

impl LimitMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    pub fn register(registry: &Registry) -> Result<Self, TelemetryError> {
        Ok(Self {
            decisions: registry.counters(
                "limit_decisions_total",
                "Requests that rate limits let pass or refused.",
                &["class", "outcome"],
            )?,
            keys: registry.levels("limit_keys", "Networks with a token bucket.", &["class"])?,
            overflows: registry.counter("limit_overflows_total", "Requests counted in a shared token bucket.")?,
            redis_fallbacks: registry
                .counter("limit_redis_fallbacks_total", "Requests counted without Redis, which was away.")?,
            redis_up: LateLevel::new(registry, "limit_redis_up", "1 while Redis answers.")?,
        })
    }
}
