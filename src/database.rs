//! PostgreSQL: a pool of connections to the configured server, or to a private cluster of the service's own.

mod cancel;
mod hosts;
pub mod lender;
pub mod local;
mod manager;
mod metrics;
pub mod migrations;
mod moment;
mod pool;
pub(crate) mod statements;
mod tls;

use std::path::Path;

use secrecy::ExposeSecret;
use thiserror::Error;
use tokio_postgres::GenericClient;
use tokio_postgres::error::SqlState;

use crate::config::{self, Tls};
use crate::telemetry::Counter;
pub use deadpool_postgres::Transaction;
use hosts::Endpoint;
use local::{Cluster, LocalError};
pub use metrics::{StatementMetrics, server_restarts};
use migrations::MigrationError;
pub use pool::{Client, Pool, shrink};
pub use tls::TlsError;

/// Why there is no database to work with.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// The URL is not one of a PostgreSQL server.
    #[error("{key} does not parse: {cause}; it must look like postgresql://user:password@host:5432/name")]
    Url {
        /// The key.
        key: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// The private cluster does not start.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The server doesn't answer, or refuses.
    #[error("cannot use PostgreSQL at {place}: {cause}; mend {keys} or the server")]
    Unreachable {
        /// Host and port, without credentials.
        place: String,
        /// The last cause in the chain, of every host where there are several.
        cause: String,
        /// The keys that may be wrong.
        keys: &'static str,
    },
    /// Its encoding cannot hold every name.
    #[error(
        "the database's encoding is {0}, and names need UTF8: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and restore a dump into it"
    )]
    Encoding(String),
    /// Connections can't be encrypted as configured.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The schema can't be brought up to date.
    #[error(transparent)]
    Migration(#[from] MigrationError),
}

/// A pool, and the private cluster where it uses one.
#[derive(Debug)]
pub struct Database {
    /// Connections, opened when first needed.
    pub pool: Pool,
    cluster: Option<Cluster>,
}

impl Database {
    /// Starts the private cluster where no URL is configured, and connects once, to check that the server answers.
    ///
    /// # Errors
    /// [`DatabaseError`], but for migrations.
    pub async fn open(config: &config::Database, data_dir: &Path) -> Result<Self, DatabaseError> {
        let (settings, cluster) = if let Some(url) = &config.url {
            (parse_url(url.expose_secret(), "database.url")?, None)
        } else {
            let cluster = Cluster::start(data_dir).await?;
            (cluster.connection_settings(), Some(cluster))
        };
        match Self::connect(settings, config).await {
            Ok(pool) => Ok(Self { pool, cluster }),
            Err(error) => {
                if let Some(cluster) = cluster {
                    cluster.stop().await;
                }
                Err(error)
            }
        }
    }

    async fn connect(settings: tokio_postgres::Config, config: &config::Database) -> Result<Pool, DatabaseError> {
        let place = place(&settings);
        let pool = pool::build(settings, config)?;
        let keys = match config.tls {
            Tls::Url => "database.url (DATABASE_URL)",
            Tls::VerifyFull => "database.url (DATABASE_URL), database.ca_file",
        };
        let unreachable = |cause| DatabaseError::Unreachable { place, cause, keys };
        let client = pool.get().await.map_err(|error| unreachable(root_cause(&error)))?;
        let encoding = client
            .query_typed("SHOW server_encoding", &[])
            .await
            .and_then(|rows| rows.first().map_or(Ok(String::new()), |row| row.try_get::<_, String>(0)));
        let encoding = encoding.map_err(|error| DatabaseError::Migration(error.into()))?;
        if encoding != "UTF8" {
            return Err(DatabaseError::Encoding(encoding));
        }
        Ok(pool)
    }

    /// Whether the private cluster is in use.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.cluster.is_some()
    }

    /// Whether the server refuses writes, as a standby does.
    ///
    /// # Errors
    /// [`DatabaseError::Migration`] where it does not answer.
    pub async fn is_read_only(&self) -> Result<bool, DatabaseError> {
        let client = self.pool.get().await.map_err(|error| MigrationError::Failed(root_cause(&error)))?;
        Ok(is_read_only(&**client).await.map_err(MigrationError::from)?)
    }

    /// Restarts the private cluster whenever it ends, from now until [`Self::close`], and counts that. Without one, or
    /// with one that another process owns, this does nothing.
    pub fn keep_running(&mut self, restarts: Counter) {
        if let Some(cluster) = &mut self.cluster {
            cluster.keep_running(restarts);
        }
    }

    /// Closes the pool and stops the private cluster, if this process started it.
    pub async fn close(self) {
        self.pool.close();
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
    }
}

/// A pool that cannot connect, for parts that are built and never run.
///
/// # Errors
/// [`DatabaseError`].
pub fn unconnected(config: &config::Database) -> Result<Pool, DatabaseError> {
    let mut settings = tokio_postgres::Config::new();
    settings.host("nowhere.invalid");
    pool::build(settings, config)
}

fn parse_url(url: &str, key: &'static str) -> Result<tokio_postgres::Config, DatabaseError> {
    url.parse().map_err(|error| DatabaseError::Url { key, cause: root_cause(&error) })
}

async fn is_read_only(client: &impl GenericClient) -> Result<bool, tokio_postgres::Error> {
    let rows = client.query_typed("SELECT current_setting('transaction_read_only') = 'on'", &[]).await?;
    rows.first().map_or(Ok(false), |row| row.try_get(0))
}

/// Whether `error` shows that the server is not usable any more: it has become a standby, or is going down. Then all
/// connections to it are closed.
pub(crate) fn is_of_a_lost_server(error: &tokio_postgres::Error) -> bool {
    const STATES: [SqlState; 4] = [
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
    ];
    error.code().is_some_and(|code| STATES.contains(code))
}

/// Addresses of the server, without credentials.
fn place(settings: &tokio_postgres::Config) -> String {
    hosts::endpoints(settings).iter().map(Endpoint::place).collect::<Vec<_>>().join(",")
}

/// The last error of a chain: the words of the system or the server, without the wrappers' words around them. Of the
/// server's errors, only the message: details quote rows, and with them addresses and hashes.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let Some(mut cause) = error.source() else { return error.to_string().replace('\n', " ") };
    while let Some(source) = cause.source() {
        cause = source;
    }
    let server = cause.downcast_ref::<tokio_postgres::error::DbError>();
    let words = server.map_or_else(|| cause.to_string(), |said| format!("{}: {}", said.severity(), said.message()));
    words.replace('\n', " ")
}
