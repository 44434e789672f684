//! What the measurements share, each part started when the first one needs it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio::time::sleep;

use super::bare::Bare;
use super::options::Options;
use super::peer::Peer;
use super::postgres::{self, Postgres};
use super::requests::Requests;
use super::service::{self, Service};
use super::users::{PASSWORD, Users};
use super::{Outcome, closed};

/// Connections of a storm of logins.
pub(crate) const STORM: usize = 64;
/// For what a load left behind, such as hashes under way, to be done.
const SETTLE: Duration = Duration::from_secs(1);

/// The shared parts.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) options: Options,
    dir: TempDir,
    users: OnceCell<Users>,
    postgres: OnceCell<Postgres>,
    service: OnceCell<Service>,
    bare: OnceCell<Bare>,
    peer: OnceCell<Peer>,
    capacity: OnceCell<f64>,
}

impl Stage {
    pub(crate) fn new(options: Options) -> Outcome<Self> {
        let dir = tempfile::Builder::new().prefix("rollcall-load-").tempdir()?;
        // PostgreSQL's own user, where this one is root, must pass through.
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o711))?;
        Ok(Self {
            options,
            dir,
            users: OnceCell::new(),
            postgres: OnceCell::new(),
            service: OnceCell::new(),
            bare: OnceCell::new(),
            peer: OnceCell::new(),
            capacity: OnceCell::new(),
        })
    }

    /// A directory of this name, for files and data.
    pub(crate) fn dir(&self, name: &str) -> Outcome<PathBuf> {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    pub(crate) async fn users(&self) -> Outcome<&Users> {
        self.users.get_or_try_init(async || Users::new()).await
    }

    /// PostgreSQL with the service's tables and users.
    pub(crate) async fn postgres(&self) -> Outcome<&Postgres> {
        let make = async || {
            let postgres = Postgres::start(&self.dir("postgres")?).await?;
            match self.fill(&postgres).await {
                Ok(()) => Ok(postgres),
                Err(error) => {
                    postgres.stop().await;
                    Err(error)
                }
            }
        };
        self.postgres.get_or_try_init(make).await
    }

    async fn fill(&self, server: &Postgres) -> Outcome<()> {
        server.create_database(postgres::PEER).await?;
        self.new_database(server, postgres::ROLLCALL).await?;
        self.users().await?.insert(&server.connect(postgres::ROLLCALL).await?).await
    }

    /// The URL of a database of its own in `server`, with the service's tables.
    pub(crate) async fn new_database(&self, server: &Postgres, name: &str) -> Outcome<String> {
        server.create_database(name).await?;
        let url = server.url("postgresql", name);
        service::migrate(&self.dir("service")?, &url).await?;
        Ok(url)
    }

    /// The service, on that PostgreSQL.
    pub(crate) async fn service(&self) -> Outcome<&Service> {
        self.service.get_or_try_init(async || self.new_service().await).await
    }

    /// Another one, that nothing has used before.
    pub(crate) async fn new_service(&self) -> Outcome<Service> {
        let url = self.postgres().await?.url("postgresql", postgres::ROLLCALL);
        Service::start(&self.dir("service")?, Some(&url)).await
    }

    /// The bare server with an answer of the service's.
    pub(crate) async fn bare(&self) -> Outcome<&Bare> {
        let profiles = self.profiles().await?;
        self.bare.get_or_try_init(async || Bare::start(&profiles, self.dir.path()).await).await
    }

    /// The Python service, where there is one.
    pub(crate) async fn peer(&self) -> Outcome<Option<&Peer>> {
        let Some(source) = &self.options.peer else { return Ok(None) };
        let (postgres, users) = (self.postgres().await?, self.users().await?);
        let dir: &Path = self.dir.path();
        self.peer.get_or_try_init(async || Peer::start(source, dir, postgres, users).await).await.map(Some)
    }

    /// Profile requests of all users to the service.
    pub(crate) async fn profiles(&self) -> Outcome<Requests> {
        Ok(Requests::profiles(self.service().await?.addr, &self.users().await?.tokens))
    }

    /// Logins of all users at the service.
    pub(crate) async fn logins(&self) -> Outcome<Requests> {
        Ok(Requests::logins(self.service().await?.addr, &self.users().await?.emails, PASSWORD))
    }

    /// Logins per second in a storm, measured once.
    pub(crate) async fn capacity(&self) -> Outcome<f64> {
        let measure = async || {
            let report = closed::run(&self.logins().await?, STORM, SETTLE, self.options.seconds(16)).await?;
            settle().await;
            Ok(report.rate())
        };
        self.capacity.get_or_try_init(measure).await.copied()
    }

    /// Stops everything.
    pub(crate) async fn strike(self) {
        if let Some(peer) = self.peer.into_inner() {
            peer.stop().await;
        }
        if let Some(bare) = self.bare.into_inner() {
            bare.stop().await;
        }
        if let Some(service) = self.service.into_inner() {
            // Killed when dropped, if it does not.
            let _ = service.process.stop().await;
        }
        if let Some(postgres) = self.postgres.into_inner() {
            postgres.stop().await;
        }
    }
}

/// Waits until what a load left behind is done.
pub(crate) async fn settle() {
    sleep(SETTLE).await;
}
