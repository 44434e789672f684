//! The standby that answers lookups by id, while it is well.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use tokio::time::timeout;

/// How long a standby that did not answer is left alone before it is tried.
const RESTS: Duration = Duration::from_secs(5);

/// A standby's connections, and whether they are worth a lookup's time.
pub(super) struct Replica {
    pool: Pool,
    health: Mutex<Health>,
}

#[derive(Debug, Clone, Copy)]
enum Health {
    Well,
    /// It has not answered, at this time.
    Resting(Instant),
    /// It is being asked whether it is well again.
    Tried,
}

impl Replica {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, health: Mutex::new(Health::Well) }
    }

    /// Its connections while it is well. One that has rested is tried beside, for up to `limit`: no lookup waits for that.
    pub(super) fn pool(self: &Arc<Self>, limit: Duration) -> Option<&Pool> {
        let mut health = self.health();
        match *health {
            Health::Well => return Some(&self.pool),
            Health::Resting(since) if since.elapsed() > RESTS => {
                *health = Health::Tried;
                tokio::spawn(Arc::clone(self).try_again(limit));
            }
            Health::Resting(_) | Health::Tried => {}
        }
        None
    }

    /// Leaves it alone for a while.
    pub(super) fn rest(&self) {
        *self.health() = Health::Resting(Instant::now());
    }

    async fn try_again(self: Arc<Self>, limit: Duration) {
        // Those that are there are of the time when it did not answer.
        self.pool.retain(|_, _| false);
        let answered = timeout(limit, async { self.pool.get().await.ok()?.simple_query("").await.ok() }).await;
        match answered {
            Ok(Some(_)) => *self.health() = Health::Well,
            Ok(None) | Err(_) => self.rest(),
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
