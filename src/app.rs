//! The running service: its parts start in order, and stop in reverse.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::actors::supervisor;
use crate::config::Config;
use crate::database::migrations::Outcome;
use crate::database::{self, Database, DatabaseError, Pool};
use crate::features::{Feature, passwords, schema, tokens};
use crate::hashing::engine::{Engines, StartError};
use crate::http::admin::{self, Admin};
use crate::http::docs;
use crate::http::gate::Gate;
use crate::http::limits::Limits;
use crate::http::limits::metrics::LimitMetrics;
use crate::http::metrics::HttpMetrics;
use crate::http::router::Router;
use crate::http::service::Service;
use crate::http::tls::Tls;
use crate::telemetry::{Health, Registry};

mod descriptors;
mod error;
pub mod features;
mod front;
pub mod listeners;
mod probe;
mod running;
pub mod secret;

pub use error::AppError;
use features::Features;
pub use features::Handles;
use front::Front;
use probe::Probe;
use running::Running;
pub use secret::SecretError;

/// A running service. Its drop ends it at once.
#[derive(Debug)]
pub struct App {
    addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
    redirect_addr: Option<SocketAddr>,
    tls: Option<Arc<Tls>>,
    handles: Handles,
    registry: Registry,
    health: Arc<Health>,
    running: Running,
}

/// The parts of a start before there is a database.
struct Ground {
    config: Config,
    registry: Registry,
    front: Front,
    admin_listener: Option<TcpListener>,
    engines: JoinHandle<Result<Engines, StartError>>,
}

impl App {
    /// Starts the service. When this returns, it answers requests.
    ///
    /// # Errors
    /// [`AppError`]; the parts that had started are stopped.
    pub async fn start(mut config: Config) -> Result<Self, AppError> {
        secret::keep_out_of_core_dumps();
        descriptors::bound(&mut config);
        secret::check(&config)?;
        // Addresses and certificates first: the likeliest mistakes show before a cluster starts.
        let registry = Registry::new()?;
        let front = Front::open(&config, &registry).await?;
        let admin_listener = listeners::open_admin(&config.telemetry)?;
        // Measures the kernel while the database starts or answers.
        let (hashing, panics) = (config.hashing.clone(), passwords::engine_panics(&registry)?);
        let engines = tokio::task::spawn_blocking(move || Engines::start(&hashing, panics));
        let mut database = Database::open(&config.database, &config.data_dir).await?;
        database.keep_running(database::server_restarts(&registry)?);
        let ground = Ground { config, registry, front, admin_listener, engines };
        let (pool, is_private) = (database.pool.clone(), database.is_private());
        let mut running = Running::default();
        running.add(|| database.close());
        // Boxed, because the future is as large as all that it starts.
        match Box::pin(Self::assemble(ground, (pool, is_private), &mut running)).await {
            Ok(parts) => Ok(Self { running, ..parts }),
            Err(error) => {
                running.stop().await;
                Err(error)
            }
        }
    }

    async fn assemble(
        ground: Ground,
        (pool, is_private): (Pool, bool),
        running: &mut Running,
    ) -> Result<Self, AppError> {
        let Ground { config, registry, front, admin_listener, engines } = ground;
        let health = Health::new(&registry)?;
        // All checks of the configuration alone come before the first change to the database.
        let secret = secret::signing(&config, is_private)?;
        let pseudonyms = Arc::new(secret::pseudonyms(&config, &secret));
        let limits =
            Arc::new(Limits::new(&config.limits, Arc::clone(&pseudonyms), LimitMetrics::register(&registry)?)?);
        migrate(&pool).await?;
        let keyring = tokens::open_keyring(&config, &secret, &pool, &registry).await?;
        let engines = engines.await.map_err(assembly)??;
        let kit = features::kit(&config, pool.clone(), &secret, registry.clone())?;
        let Features { handles, all } = features::build(&kit, keyring, engines)?;
        let Feature { mut endpoints, children, mut reports, readiness } = all;
        if config.server.docs {
            endpoints.extend(docs::endpoints(&endpoints));
        }
        let router = Router::new(endpoints, &limits).map_err(assembly)?;
        running.add_supervisor(supervisor::start(children, Arc::clone(&health)).await.map_err(assembly)?);
        let audit = handles.audit.clone();
        running.add(|| async move { audit.flush().await });
        limits.open().await;
        let probe = Probe::new(pool.clone(), &registry)?;
        let reported = probe.clone();
        reports.push(Box::new(move || reported.report()));
        let gate = Gate::new(&config, Arc::clone(&limits));
        let record = Box::new(handles.audit.clone());
        let service =
            Arc::new(Service::new(router, gate, record, Arc::new(HttpMetrics::register(&registry)?), &config.server));
        let app = Self {
            addr: front.addr,
            admin_addr: admin_listener.as_ref().and_then(|listener| listener.local_addr().ok()),
            redirect_addr: front.redirect_addr(),
            tls: front.tls(),
            handles,
            registry,
            health,
            running: Running::default(),
        };
        app.keep_up(running, limits, (pool.clone(), config.database.pool_kept));
        if let Some(listener) = admin_listener {
            let admin = Arc::new(Admin {
                service: Arc::clone(&service),
                readiness,
                reports,
                registry: app.registry.clone(),
                health: Arc::clone(&app.health),
                database: Box::new(probe),
                tls: app.tls.clone(),
                probe: tokio::sync::Mutex::default(),
            });
            let part = app.health.loop_part("admin");
            running.add_task(tokio::spawn(async move {
                part.keep_running(|| admin::serve(&listener, Arc::clone(&admin))).await;
            }));
        }
        front.serve(&service, &config, &app.health, running);
        Ok(app)
    }

    /// Starts the upkeep loops: of the pool, of the limits, and of the connection to Redis.
    fn keep_up(&self, running: &mut Running, limits: Arc<Limits>, (pool, kept): (Pool, usize)) {
        let part = |name| self.health.loop_part(name);
        running.add_task(tokio::spawn(part("pool").keep_running(move || database::shrink(pool.clone(), kept))));
        let swept = Arc::clone(&limits);
        running.add_task(tokio::spawn(part("limits").keep_running(move || Arc::clone(&swept).sweep())));
        running.add_task(tokio::spawn(part("redis").keep_running(move || Arc::clone(&limits).follow_redis())));
    }

    /// Its address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The scheme of its URLs.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The address of the redirect to HTTPS.
    #[must_use]
    pub fn redirect_addr(&self) -> Option<SocketAddr> {
        self.redirect_addr
    }

    /// Checks the certificate's files now; `false` where there is no certificate.
    #[must_use]
    pub fn reload_certificate(&self) -> bool {
        self.tls.as_ref().inspect(|tls| tls.reload()).is_some()
    }

    /// The address of metrics and health.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// The actors, for fault tests.
    #[must_use]
    pub fn handles(&self) -> &Handles {
        &self.handles
    }

    /// Its metrics.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The parts, and whether they are up.
    #[must_use]
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Stops the service: answers accepted requests, then stops the actors, then the private cluster.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}

fn assembly(error: impl std::fmt::Display) -> AppError {
    AppError::Assembly(error.to_string())
}

async fn migrate(pool: &Pool) -> Result<(), AppError> {
    let schema = schema();
    let to_version = schema.latest();
    match schema.run(pool).await.map_err(DatabaseError::from)? {
        Outcome::UpToDate => tracing::debug!(version = to_version, "the schema is up to date"),
        Outcome::Adopted => tracing::info!(to_version, "the existing users are adopted"),
        Outcome::Migrated { from } => {
            tracing::info!(from_version = from, to_version, "the schema was brought up to date");
        }
    }
    Ok(())
}
