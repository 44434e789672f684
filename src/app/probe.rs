//! Probes the database for the admin listener, and reports the state of its pool.

use std::pin::Pin;
use std::time::Duration;

use crate::database::Pool;
use crate::database::lender::{LendError, lend};
use crate::http::admin::Database;
use crate::telemetry::{Level, Levels, Registry, TelemetryError};

/// A database behind its pool.
#[derive(Clone)]
pub(super) struct Probe {
    pool: Pool,
    is_up: Level,
    /// Connections of the pool, by state.
    connections: Levels,
    /// Borrowers that wait for one.
    waiting: Level,
}

impl Probe {
    pub(super) fn new(pool: Pool, registry: &Registry) -> Result<Self, TelemetryError> {
        Ok(Self {
            pool,
            is_up: registry.level("database_up", "1 where the database answered when it was last asked.")?,
            waiting: registry.level("db_pool_waiting", "Statements and other work waiting for a connection.")?,
            connections: registry.levels("db_pool_connections", "Connections of the pool.", &["state"])?,
        })
    }

    /// Counts the pool's connections.
    pub(super) fn report(&self) {
        let status = self.pool.status();
        let in_use = status.size.saturating_sub(status.available);
        let of = |state| self.connections.with_label_values(&[state]);
        let waiting = self.waiting.clone();
        for (level, count) in [(of("idle"), status.available), (of("in_use"), in_use), (waiting, status.waiting)] {
            level.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

impl Database for Probe {
    fn answers(&self, limit: Duration) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async move {
            let asked = lend(&self.pool, limit, async |client| Ok::<_, LendError>(client.simple_query("").await?));
            let answers = asked.await.is_ok();
            self.is_up.set(i64::from(answers));
            answers
        })
    }
}
