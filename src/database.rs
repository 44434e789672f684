//! The way to PostgreSQL: a pool of connections to the configured server, or to a private cluster of the service's own.

pub mod audit;
pub mod local;
pub mod migrations;
mod replica;
mod tls;

use std::path::Path;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use secrecy::ExposeSecret;
use thiserror::Error;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::{GenericClient, NoTls};

use crate::config::{self, Statements, Tls};
use local::{Cluster, LocalError};
use migrations::MigrationError;
pub use replica::ReplicaError;
pub use tls::TlsError;

/// A connection that has been idle for longer is checked before use; one that was in use just now has just been checked.
const CHECK_AFTER_IDLE: Duration = Duration::from_millis(500);
/// How often connections beyond `database.pool_kept` are looked for and closed.
const SHRINK_EVERY: Duration = Duration::from_secs(30);

/// Why there is no database to work with.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// It is no URL of a PostgreSQL server.
    #[error("{key} does not parse: {cause}; it must look like postgresql://user:password@host:5432/name")]
    Url {
        /// The key.
        key: &'static str,
        /// What is wrong.
        cause: String,
    },
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
    /// Connections can't be encrypted as configured.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The replica is none.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The schema can't be brought up to date.
    #[error(transparent)]
    Migration(#[from] MigrationError),
}

/// A pool, and the private cluster where it leads to one.
#[derive(Debug)]
pub struct Database {
    /// Connections, opened when first needed.
    pub pool: Pool,
    /// Connections to a standby, for lookups by id.
    pub replica: Option<Pool>,
    cluster: Option<Cluster>,
}

impl Database {
    /// Starts the private cluster where no URL is configured, and connects once to see that the server is there.
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
            Ok((pool, replica)) => Ok(Self { pool, replica, cluster }),
            Err(error) => {
                if let Some(cluster) = cluster {
                    cluster.stop().await;
                }
                Err(error)
            }
        }
    }

    async fn connect(
        settings: tokio_postgres::Config,
        config: &config::Database,
    ) -> Result<(Pool, Option<Pool>), DatabaseError> {
        let place = place(&settings);
        let pool = build_pool(settings, config)?;
        let client =
            pool.get().await.map_err(|error| DatabaseError::Unreachable { place, cause: root_cause(&error) })?;
        let replica = match &config.replica_url {
            Some(url) => {
                let settings = parse_url(url.expose_secret(), "database.replica_url")?;
                Some(replica::open(&**client, settings, config).await?)
            }
            None => None,
        };
        Ok((pool, replica))
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

fn parse_url(url: &str, key: &'static str) -> Result<tokio_postgres::Config, DatabaseError> {
    // SQLAlchemy names its driver in the scheme, as in postgresql+psycopg2://.
    let plain = match url.split_once("://") {
        Some((scheme, rest)) if scheme.starts_with("postgresql+") => format!("postgresql://{rest}"),
        _ => url.to_owned(),
    };
    plain.parse().map_err(|error| DatabaseError::Url { key, cause: root_cause(&error) })
}

fn build_pool(mut settings: tokio_postgres::Config, config: &config::Database) -> Result<Pool, DatabaseError> {
    if settings.get_connect_timeout().is_none() {
        settings.connect_timeout(config.connect_timeout);
    }
    if settings.get_application_name().is_none() {
        settings.application_name("rollcall");
    }
    // Of several hosts, those that refuse writes are standbys.
    if settings.get_hosts().len() > 1 && settings.get_target_session_attrs() == TargetSessionAttrs::Any {
        settings.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    let must_write = settings.get_target_session_attrs() == TargetSessionAttrs::ReadWrite;
    let timeout = (config.statements == Statements::Named).then_some(config.timeout);
    Pool::builder(manager(settings, config)?)
        .max_size(config.pool_size)
        .runtime(Runtime::Tokio1)
        .timeouts(Timeouts {
            wait: Some(config.timeout),
            create: Some(config.connect_timeout),
            recycle: Some(config.connect_timeout),
        })
        // The server gives up when the caller does, so that an abandoned statement holds no lock. Behind a proxy, settings
        // would stay with a connection that others use.
        .post_create(Hook::async_fn(move |client, _| {
            Box::pin(async move {
                let Some(timeout) = timeout else { return Ok(()) };
                let limit = format!("SET statement_timeout = {}", timeout.as_millis());
                client.batch_execute(&limit).await.map_err(HookError::Backend)
            })
        }))
        .pre_recycle(Hook::async_fn(move |client, metrics| {
            Box::pin(async move {
                if metrics.last_used() < CHECK_AFTER_IDLE {
                    return Ok(());
                }
                if must_write && is_read_only(&**client).await.map_err(HookError::Backend)? {
                    return Err(HookError::message("the server takes no writes any more"));
                }
                client.simple_query("").await.map(|_| ()).map_err(HookError::Backend)
            })
        }))
        .build()
        .map_err(|error| DatabaseError::Url { key: "database.pool_size", cause: error.to_string() })
}

/// What opens connections: encrypted where the server's host has a name to speak of, as sockets have not.
fn manager(mut settings: tokio_postgres::Config, config: &config::Database) -> Result<Manager, TlsError> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let is_local = settings.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
    if is_local {
        return Ok(Manager::from_config(settings, NoTls, recycling));
    }
    if config.tls == Tls::VerifyFull {
        settings.ssl_mode(SslMode::Require);
    }
    if settings.get_ssl_mode() == SslMode::Disable {
        return Ok(Manager::from_config(settings, NoTls, recycling));
    }
    Ok(Manager::from_config(settings, tls::connector(config)?, recycling))
}

async fn is_read_only(client: &impl GenericClient) -> Result<bool, tokio_postgres::Error> {
    let rows = client.query_typed("SELECT current_setting('transaction_read_only') = 'on'", &[]).await?;
    rows.first().map_or(Ok(false), |row| row.try_get(0))
}

/// Whether `error` says that the server is no longer the one to talk to: it has become a standby, or is going down. Then
/// no other connection to it is worth keeping.
pub(crate) fn is_of_a_lost_server(error: &tokio_postgres::Error) -> bool {
    const STATES: [SqlState; 4] = [
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
    ];
    error.code().is_some_and(|code| STATES.contains(code))
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
