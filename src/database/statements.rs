//! Statements: each gets a connection for as long as it runs, and both together a bounded time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{ClientWrapper, Object, Pool};
use thiserror::Error;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row};

use super::cancel::Cancel;
use super::{is_of_a_lost_server, root_cause};
use crate::config;
use crate::telemetry::{Metrics, seconds};

/// The database did not answer, refused, or took too long. A write may or may not have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the database is not available")]
pub(crate) struct Unavailable;

/// A value, and the type that it has in the statement.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection, and how statements are sent over it.
pub(crate) struct Connection<'a> {
    client: &'a ClientWrapper,
    mode: config::Statements,
}

impl Connection<'_> {
    /// Runs one statement.
    pub(crate) async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
        match self.mode {
            config::Statements::Unnamed => self.client.query_typed(sql, parameters).await,
            config::Statements::Named => {
                let statement = self.client.prepare_cached(sql).await?;
                let values: Vec<_> = parameters.iter().map(|(value, _)| *value).collect();
                self.client.query(&statement, &values).await
            }
        }
    }
}

/// How statements are run, and where they are counted.
pub(crate) struct Statements {
    cancel: Cancel,
    mode: config::Statements,
    timeout: Duration,
    metrics: Arc<Metrics>,
}

impl Statements {
    pub(crate) fn new(config: &config::Database, metrics: &Arc<Metrics>) -> Self {
        let (cancel, metrics) = (Cancel::new(config), Arc::clone(metrics));
        Self { cancel, mode: config.statements, timeout: config.timeout, metrics }
    }

    /// The configured time of a statement.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Gives `statement`, which answers `size` requests, a connection of `pool`, and both together the configured time.
    pub(crate) async fn run<T>(
        &self,
        pool: &Pool,
        name: &str,
        size: usize,
        statement: impl AsyncFnOnce(Connection<'_>) -> Result<T, Error>,
    ) -> Result<T, Unavailable> {
        self.run_within(self.timeout, pool, name, size, statement).await
    }

    /// The same, with time up to `limit`.
    pub(crate) async fn run_within<T>(
        &self,
        limit: Duration,
        pool: &Pool,
        name: &str,
        size: usize,
        statement: impl AsyncFnOnce(Connection<'_>) -> Result<T, Error>,
    ) -> Result<T, Unavailable> {
        let started = Instant::now();
        self.metrics.batch_size.with_label_values(&[name]).observe(f64::from(u32::try_from(size).unwrap_or(u32::MAX)));
        let result = timeout(limit, async {
            self.metrics.pool_waiting.inc();
            let client = pool.get().await;
            self.metrics.pool_waiting.dec();
            let client = client.inspect_err(|error| tracing::warn!(statement = name, %error, "no database connection"));
            let client = Checkout { client: Some(client.map_err(|_| Unavailable)?), cancel: &self.cancel };
            let answer = statement(Connection { client: client.connection()?, mode: self.mode }).await;
            match answer {
                Ok(answer) => {
                    client.give_back();
                    Ok(answer)
                }
                Err(error) => {
                    client.close();
                    let cause = root_cause(&error);
                    tracing::warn!(statement = name, cause, "a database statement failed");
                    if is_of_a_lost_server(&error) {
                        pool.retain(|_, _| false);
                    }
                    Err(Unavailable)
                }
            }
        })
        .await;
        let took = started.elapsed();
        self.metrics.statement_duration.with_label_values(&[name]).observe(seconds(took));
        let result = result.unwrap_or_else(|_| {
            tracing::warn!(statement = name, "a database statement took too long");
            // What was not of use meanwhile may lead nowhere either, and cost the next statement as much.
            pool.retain(|_, metrics| metrics.last_used() < took);
            Err(Unavailable)
        });
        if result.is_err() {
            self.metrics.statement_failures.with_label_values(&[name]).inc();
        }
        result
    }
}

/// A connection that goes back to the pool only after it answered. One that failed may lead to a server that refuses writes
/// and is closed; so is one that was given up on, which may still be busy, and the server is told to leave that.
struct Checkout<'a> {
    client: Option<Object>,
    cancel: &'a Cancel,
}

impl Checkout<'_> {
    fn connection(&self) -> Result<&ClientWrapper, Unavailable> {
        self.client.as_deref().ok_or(Unavailable)
    }

    fn give_back(mut self) {
        self.client = None;
    }

    fn close(mut self) {
        drop(self.client.take().map(Object::take));
    }
}

impl Drop for Checkout<'_> {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            self.cancel.send(client.cancel_token());
            drop(Object::take(client));
        }
    }
}
