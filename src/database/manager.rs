//! Opens the pool's connections, and checks idle ones before they are used again.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use tokio::time::timeout;
use tokio_postgres::{CancelToken, Error};

use super::hosts::{ConnectError, Hosts};
use super::is_read_only;

/// A connection that was idle for longer is checked before use; a shorter idle time counts as checked.
const CHECK_AFTER_IDLE: Duration = Duration::from_millis(500);
/// A check may take one part in so many of a statement's time, so that enough is left to reconnect and run the
/// statement.
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

    /// Cancels the current statement of `token`'s connection on the server.
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
        // Boxed, because every borrower's future would have room for it, and few need a new connection.
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
    /// Deadline of a check.
    limit: Duration,
    /// When a check last found no answer.
    lost: Mutex<Option<Instant>>,
}

impl Check {
    /// A check for connections that must write where `must_write`, within a share of `statement`, the time of a
    /// statement.
    pub(super) fn new(must_write: bool, statement: Duration) -> Self {
        Self { must_write, limit: statement / CHECK_SHARE, lost: Mutex::default() }
    }

    async fn passes(&self, client: &ClientWrapper, metrics: &Metrics) -> bool {
        let used = metrics.recycled.unwrap_or(metrics.created);
        // Connections of the same age are likely lost, too; checking each would take that time again.
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
