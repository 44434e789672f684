//! Whether the database is there, for the admin listener.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::timeout;

use crate::database::Pool;
use crate::http::admin::Database;

/// A database behind its pool.
pub(super) struct Probe(pub(super) Pool);

impl Database for Probe {
    fn answers(&self, limit: Duration) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async move {
            let asked = timeout(limit, async {
                let client = self.0.get().await.ok()?;
                client.simple_query("").await.ok()
            });
            if let Ok(answer) = asked.await {
                return answer.is_some();
            }
            // The connection may still be busy, and others of its age may lead nowhere either.
            self.0.retain(|_, metrics| metrics.last_used() < limit / 2);
            false
        })
    }

    fn connections(&self) -> [usize; 2] {
        let status = self.0.status();
        [status.available, status.size.saturating_sub(status.available)]
    }
}
