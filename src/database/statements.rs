//! Statements: each is lent a connection for as long as it runs, and counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{ClientWrapper, Object, Pool};
use thiserror::Error;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row};

use super::lender::{LendError, Lender};
use crate::config;
use crate::telemetry::{Metrics, seconds};

/// The database did not answer, refused, or took too long. A write may or may not have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the database is not available")]
pub(crate) struct Unavailable {
    /// It refused a value of one of the rows; the others may be good.
    pub(crate) for_a_value: bool,
}

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

/// Who lends their connections, how statements are run, and where they are counted.
#[derive(Clone)]
pub(crate) struct Statements {
    lender: Lender,
    mode: config::Statements,
    timeout: Duration,
    metrics: Arc<Metrics>,
}

impl Statements {
    pub(crate) fn new(config: &config::Database, metrics: &Arc<Metrics>) -> Self {
        let (lender, metrics) = (Lender::new(config, metrics), Arc::clone(metrics));
        Self { lender, mode: config.statements, timeout: config.timeout, metrics }
    }
    /// Gives `statement`, which answers `size` requests, a connection of `pool`, and both together the configured time.
    pub(crate) async fn run<T>(
        &self,
        pool: &Pool,
        name: &str,
        size: usize,
        statement: impl AsyncFnOnce(Connection<'_>) -> Result<T, Error>,
    ) -> Result<T, Unavailable> {
        let started = Instant::now();
        self.metrics.batch_size.with_label_values(&[name]).observe(f64::from(u32::try_from(size).unwrap_or(u32::MAX)));
        let run = async |client: &mut Object| statement(Connection { client, mode: self.mode }).await;
        let result = self.lender.lend(pool, self.timeout, run).await;
        self.metrics.statement_duration.with_label_values(&[name]).observe(seconds(started.elapsed()));
        result.map_err(|error| {
            tracing::warn!(statement = name, %error, "a database statement failed");
            self.metrics.statement_failures.with_label_values(&[name]).inc();
            Unavailable { for_a_value: matches!(error, LendError::Value(_)) }
        })
    }
}
