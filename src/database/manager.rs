//! How the pool gets connections, and which idle one it uses again.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use tokio::time::timeout;
use tokio_postgres::{CancelToken, Error};

use super::hosts::{ConnectError, Hosts};
use super::is_read_only;

/// A connection that has been idle for longer is checked before use; one that was in use just now has just been checked.
const CHECK_AFTER_IDLE: Duration = Duration::from_millis(500);
/// The share of a statement's time that a check may take: where it fails, there is time to connect anew and ask.
const CHECK_SHARE: u32 = 4;

/// Opens and checks the connections of a pool.
pub struct Manager {
    hosts: Hosts,
    check: Check,
}

impl Manager {
    pub(super) fn new(hosts: Hosts, check: Check) -> Self {
        Self { hosts, check }
    }

    /// Has the server cancel what the connection of `token` is busy with.
    pub(super) fn cancel(&self, token: CancelToken) {
        self.hosts.cancel(token);
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").finish_non_exhaustive()
    }
}

impl managed::Manager for Manager {
    type Type = ClientWrapper;
    type Error = ConnectError;

    async fn create(&self) -> Result<ClientWrapper, ConnectError> {
        // Boxed, because all who borrow a connection would be as large, and few wait for a new one.
        Box::pin(self.hosts.open()).await
    }

    async fn recycle(&self, client: &mut ClientWrapper, metrics: &Metrics) -> RecycleResult<ConnectError> {
        if client.is_closed() || !self.check.passes(client, metrics).await {
            return Err(RecycleError::message("the connection is of no use any more"));
        }
        Ok(())
    }
}

/// Decides which idle connection may be used again.
pub(super) struct Check {
    must_write: bool,
    /// For the server to answer.
    limit: Duration,
    /// When a connection was last found to lead nowhere.
    lost: Mutex<Option<Instant>>,
}

impl Check {
    /// Of connections that must write where `must_write`, within a share of `statement`, the time of a statement.
    pub(super) fn new(must_write: bool, statement: Duration) -> Self {
        Self { must_write, limit: statement / CHECK_SHARE, lost: Mutex::default() }
    }

    async fn passes(&self, client: &ClientWrapper, metrics: &Metrics) -> bool {
        let used = metrics.recycled.unwrap_or(metrics.created);
        // What lost one has likely lost its neighbours; asking each would cost its time once more.
        if self.lost().is_some_and(|lost| used <= lost) {
            return false;
        }
        if used.elapsed() < CHECK_AFTER_IDLE {
            return true;
        }
        let asked = Instant::now();
        let Ok(answer) = timeout(self.limit, self.ask(client)).await else {
            tracing::warn!("an idle database connection does not answer; it is dropped, and those that are as old");
            *self.lost() = Some(asked);
            return false;
        };
        answer.unwrap_or(false)
    }

    /// Whether the server answers, and takes writes where it must.
    async fn ask(&self, client: &ClientWrapper) -> Result<bool, Error> {
        if self.must_write {
            return is_read_only(&**client).await.map(|is_read_only| !is_read_only);
        }
        client.simple_query("").await.map(|_| true)
    }

    fn lost(&self) -> MutexGuard<'_, Option<Instant>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
