//! One PostgreSQL server for all that is measured: a private cluster, with a database for each service.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rollcall::database::local::Cluster;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, NoTls};

use super::Outcome;

/// The service's database.
pub(crate) const ROLLCALL: &str = "rollcall";
/// The Python service's database.
pub(crate) const PEER: &str = "peer";
/// The cluster's superuser.
pub(crate) const USER: &str = "rollcall";

/// A running server.
#[derive(Debug)]
pub(crate) struct Postgres {
    cluster: Cluster,
    socket_dir: PathBuf,
}

impl Postgres {
    /// Makes a cluster in `dir` as the service does.
    pub(crate) async fn start(dir: &Path) -> Outcome<Self> {
        let cluster = Cluster::start(dir).await?;
        let hosts = cluster.connection_settings();
        let Some(Host::Unix(socket_dir)) = hosts.get_hosts().first() else {
            cluster.stop().await;
            return Err("the private cluster has no socket".into());
        };
        Ok(Self { socket_dir: socket_dir.clone(), cluster })
    }

    /// Makes a database, in the place of one that an earlier run left.
    pub(crate) async fn create_database(&self, name: &str) -> Outcome<()> {
        let client = self.connect("postgres").await?;
        client.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
        Ok(client.batch_execute(&format!("CREATE DATABASE {name}")).await?)
    }

    /// Where its socket is.
    pub(crate) fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// A database's URL, for both services.
    pub(crate) fn url(&self, scheme: &str, database: &str) -> String {
        let mut host = String::new();
        for byte in self.socket_dir.as_os_str().as_encoded_bytes() {
            // Writing to a string cannot fail.
            let _ = write!(host, "%{byte:02X}");
        }
        format!("{scheme}://{USER}@/{database}?host={host}")
    }

    /// A connection of one's own.
    pub(crate) async fn connect(&self, database: &str) -> Outcome<Client> {
        let mut settings = tokio_postgres::Config::new();
        settings.host_path(&self.socket_dir).user(USER).dbname(database);
        let (client, connection) = settings.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    pub(crate) async fn stop(self) {
        self.cluster.stop().await;
    }
}
