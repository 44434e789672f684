//! The way to PostgreSQL: a pool of connections to the configured server, or to a private cluster of the service's own.

pub mod local;
pub mod migrations;

use std::path::Path;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use secrecy::ExposeSecret;
use thiserror::Error;
use tokio_postgres::NoTls;
use tokio_postgres::config::Host;

use crate::config;
use local::{Cluster, LocalError};
use migrations::MigrationError;

/// A connection that has been idle for longer is checked before use; one that was in use just now has just been checked.
const CHECK_AFTER_IDLE: Duration = Duration::from_millis(500);
/// How often connections beyond `database.pool_kept` are looked for and closed.
const SHRINK_EVERY: Duration = Duration::from_secs(30);

/// Why there is no database to work with.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// `database.url` is no URL of a PostgreSQL server.
    #[error("database.url does not parse: {0}; it must look like postgresql://user:password@host:5432/name")]
    Url(String),
    /// No private cluster can be had.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The server doesn't answer, or refuses.
    #[error("cannot use PostgreSQL at {place}: {cause}; mend database.url (DATABASE_URL) or the server")]
    Unreachable {
        /// Host and port, without credentials.
        place: String,
        /// The last cause in the chain.
        cause: String,
    },
    /// The schema can't be brought up to date.
    #[error(transparent)]
    Migration(#[from] MigrationError),
}

/// A pool, and the private cluster where it leads to one.
#[derive(Debug)]
pub struct Database {
    /// Connections, opened when first needed.
    pub pool: Pool,
    cluster: Option<Cluster>,
}

impl Database {
    /// Starts the private cluster where no URL is configured, and connects once to see that the server is there.
    ///
    /// # Errors
    /// [`DatabaseError`], but for migrations.
    pub async fn open(config: &config::Database, data_dir: &Path) -> Result<Self, DatabaseError> {
        let (settings, cluster) = if let Some(url) = &config.url {
            (parse_url(url.expose_secret())?, None)
        } else {
            let cluster = Cluster::start(data_dir).await?;
            (cluster.connection_settings(), Some(cluster))
        };
        let place = place(&settings);
        let pool = build_pool(settings, config).map_err(|cause| DatabaseError::Url(cause.to_string()))?;
        if let Err(error) = pool.get().await {
            if let Some(cluster) = cluster {
                cluster.stop().await;
            }
            return Err(DatabaseError::Unreachable { place, cause: root_cause(&error) });
        }
        Ok(Self { pool, cluster })
    }

    /// Whether the private cluster is in use.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.cluster.is_some()
    }

    /// Closes the pool and stops the private cluster, if this process started it.
    pub async fn close(self) {
        self.pool.close();
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
    }
}

/// Closes idle connections beyond `kept`, now and then, for as long as the pool is open.
pub async fn shrink(pool: Pool, kept: usize) {
    let mut rounds = tokio::time::interval(SHRINK_EVERY);
    while !pool.is_closed() {
        rounds.tick().await;
        let mut spare = pool.status().size.saturating_sub(kept);
        pool.retain(|_, metrics| {
            let drop = spare > 0 && metrics.last_used() >= SHRINK_EVERY;
            spare -= usize::from(drop);
            !drop
        });
    }
}

fn parse_url(url: &str) -> Result<tokio_postgres::Config, DatabaseError> {
    // SQLAlchemy names its driver in the scheme, as in postgresql+psycopg2://.
    let plain = match url.split_once("://") {
        Some((scheme, rest)) if scheme.starts_with("postgresql+") => format!("postgresql://{rest}"),
        _ => url.to_owned(),
    };
    plain.parse().map_err(|error| DatabaseError::Url(root_cause(&error)))
}

fn build_pool(
    mut settings: tokio_postgres::Config,
    config: &config::Database,
) -> Result<Pool, deadpool_postgres::BuildError> {
    if settings.get_connect_timeout().is_none() {
        settings.connect_timeout(config.connect_timeout);
    }
    if settings.get_application_name().is_none() {
        settings.application_name("rollcall");
    }
    let manager = Manager::from_config(settings, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    let timeout_ms = config.timeout.as_millis();
    Pool::builder(manager)
        .max_size(config.pool_size)
        .runtime(Runtime::Tokio1)
        .timeouts(Timeouts {
            wait: Some(config.timeout),
            create: Some(config.connect_timeout),
            recycle: Some(config.connect_timeout),
        })
        // The server gives up when the caller does, so that an abandoned statement holds no lock.
        .post_create(Hook::async_fn(move |client, _| {
            Box::pin(async move {
                let limit = format!("SET statement_timeout = {timeout_ms}");
                client.batch_execute(&limit).await.map_err(HookError::Backend)
            })
        }))
        .pre_recycle(Hook::async_fn(|client, metrics| {
            Box::pin(async move {
                if metrics.last_used() < CHECK_AFTER_IDLE {
                    return Ok(());
                }
                client.simple_query("").await.map(|_| ()).map_err(HookError::Backend)
            })
        }))
        .build()
}

/// Where a server is, without the credentials that lead in.
fn place(settings: &tokio_postgres::Config) -> String {
    let ports = settings.get_ports();
    let hosts = settings.get_hosts().iter().enumerate().map(|(at, host)| {
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            #[cfg(unix)]
            Host::Unix(dir) => dir.display().to_string(),
        }
    });
    hosts.collect::<Vec<_>>().join(",")
}

/// The last error of a chain: what the system or the server said, without the wrappers' words around it. Of the server's
/// errors the message alone: their details quote rows, and with them addresses and hashes.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let Some(mut cause) = error.source() else { return error.to_string().replace('\n', " ") };
    while let Some(source) = cause.source() {
        cause = source;
    }
    let server = cause.downcast_ref::<tokio_postgres::error::DbError>();
    let words = server.map_or_else(|| cause.to_string(), |said| format!("{}: {}", said.severity(), said.message()));
    words.replace('\n', " ")
}
