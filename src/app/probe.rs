//! Whether the database is there, for the admin listener, and how its pool is used.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::timeout;

use crate::database::Pool;
use crate::http::admin::Database;
use crate::telemetry::{Level, Levels, Registry, TelemetryError};

/// A database behind its pool.
#[derive(Clone)]
pub(super) struct Probe {
    pool: Pool,
    is_up: Level,
    /// Connections of the pool, by state.
    connections: Levels,
}

impl Probe {
    pub(super) fn new(pool: Pool, registry: &Registry) -> Result<Self, TelemetryError> {
        Ok(Self {
            pool,
            is_up: registry.level("database_up", "1 where the database answered when it was last asked.")?,
            connections: registry.levels("db_pool_connections", "Connections of the pool.", &["state"])?,
        })
    }

    /// Counts the pool's connections.
    pub(super) fn report(&self) {
        let status = self.pool.status();
        let in_use = status.size.saturating_sub(status.available);
        for (state, count) in [("idle", status.available), ("in_use", in_use)] {
            self.connections.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    async fn ask(&self, limit: Duration) -> bool {
        let asked = timeout(limit, async {
            let client = self.pool.get().await.ok()?;
            client.simple_query("").await.ok()
        });
        if let Ok(answer) = asked.await {
            return answer.is_some();
        }
        // The connection may still be busy, and others of its age may lead nowhere either.
        self.pool.retain(|_, metrics| metrics.last_used() < limit / 2);
        false
    }
}

impl Database for Probe {
    fn answers(&self, limit: Duration) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async move {
            let answers = self.ask(limit).await;
            self.is_up.set(i64::from(answers));
            answers
        })
    }
}
