//! Passwords: the pool that hashes and checks them.

mod admission;
pub mod api;
pub mod handle;
mod metrics;
mod pool;
mod queue;
pub mod types;
mod verification;

use std::sync::Arc;

use super::{Feature, Kit};
use crate::actors::Current;
use crate::hashing::engine::Engines;
use crate::http::admin::Readiness;
use crate::telemetry::TelemetryError;
use admission::Admission;
use handle::HasherHandle;
use metrics::HashMetrics;
pub(crate) use metrics::engine_panics;

/// Builds the handle, and the pool behind it.
pub(crate) fn build(kit: &Kit<'_>, engines: Engines) -> Result<(HasherHandle, Feature), TelemetryError> {
    let config = &kit.config.hashing;
    let metrics = Arc::new(HashMetrics::register(&kit.registry)?);
    let factory = Current::vacant();
    let handle = HasherHandle {
        factory: factory.clone(),
        cost: config.cost,
        max_wait: config.max_wait,
        admission: Arc::new(Admission::new(engines.clone(), config.max_wait)),
        engines: engines.clone(),
        metrics: Arc::clone(&metrics),
    };
    let child = pool::child(factory, engines, config.clone(), metrics);
    let (asked, reported) = (handle.clone(), handle.clone());
    let logins = Readiness {
        path: "/readyz/logins",
        obstacle: Box::new(move || asked.is_overloaded().then_some("too many password checks wait")),
    };
    let feature = Feature {
        children: vec![child],
        reports: vec![Box::new(move || reported.report())],
        readiness: vec![logins],
        ..Feature::default()
    };
    Ok((handle, feature))
}
