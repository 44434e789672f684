//! The running service: everything started in order, and stopped in the reverse.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ractor::ActorCell;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::actors::{self, Handles, Keyring, KeyringError};
use crate::config::{Config, Telemetry};
use crate::database::keys::KeyStore;
use crate::database::migrations::{self, Outcome};
use crate::database::{self, Database, DatabaseError};
use crate::domain::pseudonym::Pseudonyms;
use crate::hashing::engine::{Engines, StartError};
use crate::http::admin::{self, Admin};
use crate::http::gate::Gate;
use crate::http::limits::Limits;
use crate::http::limits::shared::SharedError;
use crate::http::server;
use crate::http::service::Service;
use crate::http::tls::{Tls, TlsError};
use crate::telemetry::{Health, Metrics, TelemetryError};

mod descriptors;
mod front;
mod secret;

use front::Front;
pub use secret::SecretError;

/// Longest wait for the table of keys, whatever `database.timeout_ms` is: every replica shall have read it several times
/// before a new key signs (`tokens.publish_s`).
const KEYS_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the service does not start.
#[derive(Debug, Error)]
pub enum AppError {
    /// An address that can't be listened on.
    #[error("cannot listen on {addr}: {cause}; choose another with {key}, or stop what uses it")]
    Listen {
        /// The address.
        addr: String,
        /// The keys that set it.
        key: &'static str,
        /// What the system said.
        cause: std::io::Error,
    },
    /// No database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// No hash engines.
    #[error(transparent)]
    Hashing(#[from] StartError),
    /// No certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No secret to sign tokens with.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// No keys to sign tokens with.
    #[error(transparent)]
    Keys(#[from] KeyringError),
    /// No shared rate limits.
    #[error(transparent)]
    Limits(#[from] SharedError),
    /// No logs or metrics.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// A part of the service failed at once.
    #[error("the service cannot be put together: {0}")]
    Assembly(String),
}

/// A service that listens.
#[derive(Debug)]
pub struct App {
    addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
    redirect_addr: Option<SocketAddr>,
    tls: Option<Arc<Tls>>,
    handles: Handles,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    database: Database,
    supervisor: ActorCell,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    helpers: Vec<JoinHandle<()>>,
}

impl App {
    /// Starts the service: when this returns, it answers requests.
    ///
    /// # Errors
    /// [`AppError`]; whatever had started by then is stopped.
    pub async fn start(mut config: Config) -> Result<Self, AppError> {
        secret::keep_out_of_core_dumps();
        descriptors::bound(&mut config);
        check_secret(&config)?;
        // Addresses and certificates first: the likeliest mistakes should not cost a cluster's start.
        let metrics = Arc::new(Metrics::new()?);
        let front = Front::open(&config, &metrics).await?;
        let admin_listener = open_admin(&config.telemetry)?;
        // Measures the kernel while the database starts or answers.
        let (hashing, panics) = (config.hashing.clone(), metrics.hash_engine_panics.clone());
        let engines = tokio::task::spawn_blocking(move || Engines::start(&hashing, panics));
        let mut database = Database::open(&config.database, &config.data_dir).await?;
        database.keep_running(metrics.db_restarts.clone());
        match Self::assemble(&config, front, admin_listener, &database, engines, metrics).await {
            Ok(parts) => Ok(parts.into_app(database)),
            Err(error) => {
                database.close().await;
                Err(error)
            }
        }
    }

    async fn assemble(
        config: &Config,
        front: Front,
        admin_listener: Option<TcpListener>,
        database: &Database,
        engines: JoinHandle<Result<Engines, StartError>>,
        metrics: Arc<Metrics>,
    ) -> Result<Parts, AppError> {
        let pool = database.pool.clone();
        let health = Health::new(&metrics);
        // What the configuration alone decides comes before the first change to the database.
        let pseudonyms = Arc::new(pseudonyms(config, database)?);
        let limits = Arc::new(Limits::new(&config.limits, Arc::clone(&pseudonyms), &metrics)?);
        migrate(database).await?;
        let keyring = open_keyring(config, database, &metrics).await?;
        // What may fail comes before the actors, which somebody would have to stop.
        let engines = engines.await.map_err(|error| AppError::Assembly(error.to_string()))??;
        let (handles, supervisor) =
            actors::start(config, keyring, &pseudonyms, pool.clone(), engines, (&metrics, &health))
                .await
                .map_err(|error| AppError::Assembly(error.to_string()))?;
        limits.open().await;
        let gate = Gate::new(config, Arc::clone(&limits));
        let service = Service::new(handles.clone(), gate, Arc::clone(&metrics), &config.server).map_err(|error| {
            supervisor.stop(None);
            AppError::Assembly(error.to_string())
        })?;
        let service = Arc::new(service);
        let (addr, redirect_addr, tls) = (front.addr, front.redirect_addr(), front.tls());
        let admin_addr = admin_listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let (stop, stopped) = oneshot::channel();
        let (server, mut helpers) = front.serve(&service, config, &health, stopped);
        let (kept, spare) = (config.database.pool_kept, pool.clone());
        helpers.push(tokio::spawn(health.part("pool").keep_running(move || database::shrink(spare.clone(), kept))));
        let swept = Arc::clone(&limits);
        helpers.push(tokio::spawn(health.part("limits").keep_running(move || Arc::clone(&swept).sweep())));
        helpers.push(tokio::spawn(health.part("redis").keep_running(move || Arc::clone(&limits).follow_redis())));
        if let Some(listener) = admin_listener {
            let admin = Admin {
                service,
                hasher: handles.hasher.clone(),
                metrics: Arc::clone(&metrics),
                health: Arc::clone(&health),
                pool,
                tls: tls.clone(),
                probe: tokio::sync::Mutex::default(),
            };
            let (part, admin) = (health.part("admin"), Arc::new(admin));
            helpers.push(tokio::spawn(async move {
                part.keep_running(|| admin::serve(&listener, Arc::clone(&admin))).await;
            }));
        }
        Ok(Parts { addr, admin_addr, redirect_addr, tls, handles, metrics, health, supervisor, stop, server, helpers })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How clients begin its URLs.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Where plain HTTP is sent to HTTPS.
    #[must_use]
    pub fn redirect_addr(&self) -> Option<SocketAddr> {
        self.redirect_addr
    }

    /// Has the certificate's files looked at now; `false` where there is no certificate.
    #[must_use]
    pub fn reload_certificate(&self) -> bool {
        self.tls.as_ref().inspect(|tls| tls.reload()).is_some()
    }

    /// Where metrics and health are.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// The actors, for fault tests.
    #[must_use]
    pub fn handles(&self) -> &Handles {
        &self.handles
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The parts, and whether they are up.
    #[must_use]
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Answers what was accepted, then stops the actors, then the database if it is the service's own.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.server.await;
        for helper in &self.helpers {
            helper.abort();
        }
        self.handles.audit.flush().await;
        self.supervisor.stop(None);
        self.database.close().await;
    }
}

/// An [`App`] but for its database.
struct Parts {
    addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
    redirect_addr: Option<SocketAddr>,
    tls: Option<Arc<Tls>>,
    handles: Handles,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    supervisor: ActorCell,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    helpers: Vec<JoinHandle<()>>,
}

impl Parts {
    fn into_app(self, database: Database) -> App {
        let Self { addr, admin_addr, redirect_addr, tls, handles, metrics, health, supervisor, stop, server, helpers } =
            self;
        App {
            addr,
            admin_addr,
            redirect_addr,
            tls,
            handles,
            metrics,
            health,
            database,
            supervisor,
            stop,
            server,
            helpers,
        }
    }
}

/// Whether there is a secret, or can be.
///
/// # Errors
/// [`AppError::Secret`].
pub fn check_secret(config: &Config) -> Result<(), AppError> {
    if config.database.url.is_some() && config.tokens.secret.is_none() {
        return Err(SecretError::Missing.into());
    }
    Ok(())
}

/// Whether all addresses can be listened on, which ends with this.
///
/// # Errors
/// [`AppError::Listen`].
pub async fn check_listeners(config: &Config) -> Result<(), AppError> {
    front::listen(&config.server.host, config.server.port).await?;
    if let Some(addr) = config.server.https.redirect_addr {
        bind(addr, "server.redirect_addr")?;
    }
    open_admin(&config.telemetry).map(drop)
}

/// Port 9000 is other programs' too: where nobody asked for it, the service starts without it.
fn open_admin(config: &Telemetry) -> Result<Option<TcpListener>, AppError> {
    let Some(addr) = config.admin_addr else { return Ok(None) };
    match bind(addr, "telemetry.admin_addr") {
        Ok(listener) => Ok(Some(listener)),
        Err(AppError::Listen { addr, cause, .. })
            if config.admin_is_default && cause.kind() == ErrorKind::AddrInUse =>
        {
            tracing::warn!(
                "{addr} is taken: no metrics and health; choose an address with telemetry.admin_addr, or off"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn migrate(database: &Database) -> Result<(), AppError> {
    let to_version = migrations::LATEST;
    match migrations::run(&database.pool).await.map_err(DatabaseError::from)? {
        Outcome::UpToDate => tracing::debug!(version = to_version, "the schema is up to date"),
        Outcome::Adopted => tracing::info!(to_version, "the existing users are adopted"),
        Outcome::Migrated { from } => {
            tracing::info!(from_version = from, to_version, "the schema was brought up to date");
        }
    }
    Ok(())
}

/// Reads the keys that tokens are signed and checked with.
///
/// # Errors
/// [`AppError::Secret`], [`AppError::Keys`].
pub async fn open_keyring(config: &Config, database: &Database, metrics: &Arc<Metrics>) -> Result<Keyring, AppError> {
    let secret = signing_secret(config, database.is_private(), &config.data_dir)?;
    let store = KeyStore::new(database.pool.clone(), config.database.timeout.min(KEYS_TIMEOUT));
    Ok(Keyring::open(&secret, &config.tokens, store, metrics).await?)
}

/// Under the secret, which all replicas share.
fn pseudonyms(config: &Config, database: &Database) -> Result<Pseudonyms, SecretError> {
    let secret = signing_secret(config, database.is_private(), &config.data_dir)?;
    Ok(Pseudonyms::new(secret.expose_secret().as_bytes(), config.audit.emails, config.audit.addresses))
}

fn signing_secret(config: &Config, is_private: bool, data_dir: &Path) -> Result<SecretString, SecretError> {
    match &config.tokens.secret {
        Some(secret) => Ok(secret.clone()),
        None if is_private => secret::keep(data_dir),
        None => Err(SecretError::Missing),
    }
}

fn bind(addr: SocketAddr, key: &'static str) -> Result<TcpListener, AppError> {
    server::listen(addr).map_err(|cause| AppError::Listen { addr: addr.to_string(), key, cause })
}
