//! Connections, each lent for as long as one piece of work takes, which has a bounded time for both.

use std::time::{Duration, Instant};

use deadpool_postgres::{Object, Pool};
use thiserror::Error;
use tokio::time::timeout;
use tokio_postgres::Error;

use super::cancel::Cancel;
use super::metrics::StatementMetrics;
use super::{is_of_a_lost_server, root_cause};
use crate::config;
use crate::telemetry::Level;

/// Why work was not done to its end. What it was to write may have been written all the same, unless it had no connection.
#[derive(Debug, Error)]
pub(crate) enum LendError {
    /// There is no connection to be had.
    #[error("no database connection: {0}")]
    NoConnection(String),
    /// The server refused, or is lost.
    #[error("{0}")]
    Failed(String),
    /// The server refused a value: one of the statement's rows, and perhaps no other.
    #[error("{0}")]
    Value(String),
    /// It took too long.
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
}

/// Lends the connections of pools.
#[derive(Clone)]
pub(crate) struct Lender {
    cancel: Cancel,
    /// How many wait for one.
    waiting: Level,
}

impl Lender {
    pub(crate) fn new(config: &config::Database, metrics: &StatementMetrics) -> Self {
        Self { cancel: Cancel::new(config), waiting: metrics.waiting.clone() }
    }

    /// Gives `work` a connection of `pool`, and both together the time `limit`.
    pub(crate) async fn lend<T>(
        &self,
        pool: &Pool,
        limit: Duration,
        work: impl AsyncFnOnce(&mut Object) -> Result<T, Error>,
    ) -> Result<T, LendError> {
        let started = Instant::now();
        let done = timeout(limit, async {
            let mut loan = self.loan(pool).await?;
            let client = loan.client.as_mut().ok_or_else(|| LendError::NoConnection("it is gone".to_owned()))?;
            match work(client).await {
                Ok(answer) => {
                    loan.give_back();
                    Ok(answer)
                }
                // The connection is as good as before.
                Err(error) if is_of_a_value(&error) => {
                    loan.give_back();
                    Err(LendError::Value(root_cause(&error)))
                }
                Err(error) => {
                    loan.close();
                    if is_of_a_lost_server(&error) {
                        pool.retain(|_, _| false);
                    }
                    Err(LendError::Failed(root_cause(&error)))
                }
            }
        });
        done.await.unwrap_or_else(|_| {
            // What was not of use meanwhile may lead nowhere either, and cost the next work as much.
            let took = started.elapsed();
            pool.retain(|_, metrics| metrics.last_used() < took);
            Err(LendError::Late(limit))
        })
    }

    async fn loan(&self, pool: &Pool) -> Result<Loan<'_>, LendError> {
        let _waiting = Waiting::new(&self.waiting);
        let client = pool.get().await.map_err(|error| LendError::NoConnection(root_cause(&error)))?;
        Ok(Loan { client: Some(client), cancel: &self.cancel })
    }
}

/// Whether the server found fault with a value: data exceptions and violated constraints (SQLSTATE classes 22 and 23).
pub(super) fn is_of_a_value(error: &Error) -> bool {
    error.code().is_some_and(|code| matches!(code.code().get(..2), Some("22" | "23")))
}

/// One that waits, until it is dropped: because it has a connection, or because its time is over.
struct Waiting<'a>(&'a Level);

impl<'a> Waiting<'a> {
    fn new(level: &'a Level) -> Self {
        level.inc();
        Self(level)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A connection that goes back to the pool only after it answered. One that failed may lead to a server that refuses writes,
/// or be in the midst of a transaction, and is closed; so is one that was given up on, also where its actor was killed: it may
/// still be busy, and the server is told to leave that.
struct Loan<'a> {
    client: Option<Object>,
    cancel: &'a Cancel,
}

impl Loan<'_> {
    fn give_back(mut self) {
        self.client = None;
    }

    fn close(mut self) {
        drop(self.client.take().map(Object::take));
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            self.cancel.send(client.cancel_token());
            drop(Object::take(client));
        }
    }
}
