//! Runs statements: each borrows a connection for as long as it runs, and is counted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use deadpool_postgres::ClientWrapper;
use futures_util::future::join_all;
use thiserror::Error;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row, Statement};

use super::lender::{LendError, is_of_a_value, lend};
use super::metrics::StatementMetrics;
use super::{Client, Pool};
use crate::config;

/// The database did not answer, refused, or took too long. A write may or may not have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the database is not available")]
pub(crate) struct Unavailable {
    /// Whether it refused a value of one of the rows; the others may be valid.
    pub(crate) for_a_value: bool,
}

/// How long a transaction may wait for this process, because it holds locks meanwhile.
const THINKS_MAX: Duration = Duration::from_secs(1);

/// A value, and the type that it has in the statement.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A statement with its parameters.
pub(crate) type Call<'a> = (&'a str, &'a [Parameter<'a>]);

/// A connection, and the way that statements are sent over it.
pub(crate) struct Connection<'a> {
    client: &'a ClientWrapper,
    mode: config::Statements,
    timeout: Duration,
    /// Whether a transaction has begun and not ended.
    is_open: &'a AtomicBool,
}

impl Connection<'_> {
    /// Runs one statement.
    pub(crate) async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
        let prepared = self.prepare(sql).await?;
        self.send(prepared.as_ref(), (sql, parameters)).await
    }

    /// Begins a transaction with its first statement, in one round trip. Without [`Self::commit`] it is rolled back.
    pub(crate) async fn begin(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
        // Row locks are held while this process decides. If it hangs, the server ends the transaction.
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = {}",
            self.timeout.min(THINKS_MAX).as_millis()
        );
        let prepared = self.prepare(sql).await?;
        self.is_open.store(true, Ordering::Relaxed);
        // Both are sent in this order, each when it is first polled.
        let (opened, rows) = tokio::join!(
            biased;
            self.client.batch_execute(&begin),
            self.send(prepared.as_ref(), (sql, parameters))
        );
        opened?;
        rows
    }

    /// Ends the transaction with its last statements, in one round trip. If one fails, all are rolled back.
    pub(crate) async fn commit(&self, calls: &[Call<'_>]) -> Result<(), Error> {
        let mut prepared = Vec::with_capacity(calls.len());
        for (sql, _) in calls {
            prepared.push(self.prepare(sql).await?);
        }
        let writes = calls.iter().zip(&prepared).map(|(call, prepared)| self.send(prepared.as_ref(), *call));
        // After a failed statement, the server treats COMMIT as ROLLBACK.
        let (written, ended) = tokio::join!(biased; join_all(writes), self.client.batch_execute("COMMIT"));
        self.is_open.store(false, Ordering::Relaxed);
        written.into_iter().collect::<Result<Vec<_>, _>>()?;
        ended
    }

    /// Prepares the statement, unless statements are unnamed.
    async fn prepare(&self, sql: &str) -> Result<Option<Statement>, Error> {
        match self.mode {
            config::Statements::Unnamed => Ok(None),
            config::Statements::Named => Ok(Some(self.client.prepare_cached(sql).await?)),
        }
    }

    async fn send(&self, prepared: Option<&Statement>, (sql, parameters): Call<'_>) -> Result<Vec<Row>, Error> {
        let Some(statement) = prepared else { return self.client.query_typed(sql, parameters).await };
        let values: Vec<_> = parameters.iter().map(|(value, _)| *value).collect();
        self.client.query(statement, &values).await
    }
}

/// The configuration and metrics of statements.
#[derive(Clone)]
pub(crate) struct Statements {
    mode: config::Statements,
    timeout: Duration,
    metrics: StatementMetrics,
}

impl Statements {
    pub(crate) fn new(config: &config::Database, metrics: &StatementMetrics) -> Self {
        Self { mode: config.statements, timeout: config.timeout, metrics: metrics.clone() }
    }

    /// Lends `statement`, which answers `size` requests, a connection of `pool`, with the configured deadline for both.
    pub(crate) async fn run<T>(
        &self,
        pool: &Pool,
        name: &str,
        size: usize,
        statement: impl AsyncFnOnce(Connection<'_>) -> Result<T, Error>,
    ) -> Result<T, Unavailable> {
        let started = Instant::now();
        self.metrics.batch_size.with_label_values(&[name]).observe(f64::from(u32::try_from(size).unwrap_or(u32::MAX)));
        let run = async |client: &mut Client| {
            let is_open = AtomicBool::new(false);
            let connection = Connection { client, mode: self.mode, timeout: self.timeout, is_open: &is_open };
            let result = statement(connection).await;
            // A connection must not return to its pool inside a transaction.
            if is_open.into_inner() && result.as_ref().err().is_none_or(is_of_a_value) {
                client.batch_execute("ROLLBACK").await?;
            }
            result.map_err(LendError::from)
        };
        let result = lend(pool, self.timeout, run).await;
        self.metrics.duration.with_label_values(&[name]).observe(started.elapsed().as_secs_f64());
        result.map_err(|error| {
            tracing::warn!(statement = name, %error, "a database statement failed");
            self.metrics.failures.with_label_values(&[name]).inc();
            Unavailable { for_a_value: matches!(&error, LendError::Failed(error) if is_of_a_value(error)) }
        })
    }
}
