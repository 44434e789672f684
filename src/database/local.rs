//! The private cluster: a PostgreSQL server of the service's own, for running without any configuration.
//!
//! Lives in the data directory, listens on a unix socket there and never on TCP, and stops with the service. A lock file
//! tells its owner: the process that holds it started the server, or took over one that a killed service left behind.
//! Other processes on the same directory (`rollcall check` beside `rollcall serve`) join and leave the server running.

mod binaries;
mod keeper;
mod owner;
mod server;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use thiserror::Error;

use crate::telemetry::Counter;
use keeper::Keeper;
use server::{Place, Server};

/// The longest path that every system takes for a unix socket (macOS has 104 bytes with the final NUL, Linux 108).
const SOCKET_PATH_MAX: usize = 103;
/// PostgreSQL's own name for a socket of port 5432; the port is only part of the name.
const SOCKET_NAME: &str = ".s.PGSQL.5432";
/// How long the server may take to accept connections: crash recovery of a large cluster takes a while.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a fast shutdown may take before it becomes an immediate one.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause between two looks at a server that is starting or stopping.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const SUPERUSER: &str = "rollcall";
const DATABASE: &str = "postgres";

/// Why there is no private cluster.
#[derive(Debug, Error)]
pub enum LocalError {
    /// No server binaries.
    #[error(
        "no PostgreSQL server is installed: install {package} (or set PG_BINDIR to its bin directory), \
         or set DATABASE_URL to use a running one"
    )]
    NotInstalled {
        /// The system's package.
        package: &'static str,
    },
    /// The data directory can't be made or written.
    #[error("data_dir {path} cannot be used: {cause}; set data_dir to a directory that this user can write", path = .path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The socket's path would be too long.
    #[error(
        "data_dir {path} is too long for a unix socket ({length} bytes with the socket's name, at most {SOCKET_PATH_MAX}); \
         set data_dir to a shorter path", path = .path.display()
    )]
    PathTooLong {
        /// The directory.
        path: PathBuf,
        /// Bytes of the socket's path.
        length: usize,
    },
    /// `initdb` or `postgres` failed.
    #[error("{program} failed in data_dir {path}: {cause}", path = .path.display())]
    Server {
        /// The program.
        program: &'static str,
        /// The cluster's directory.
        path: PathBuf,
        /// The last line of its log, or what the system said.
        cause: String,
    },
}

/// A running private cluster.
#[derive(Debug)]
pub struct Cluster {
    place: Place,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Held by this process, which stops it. The file is the lock.
    Owned { server: Option<Server>, keeper: Option<Keeper>, _lock: File },
    /// Held by another process.
    Joined,
}

impl Cluster {
    /// Starts the cluster of `data_dir`, making it first if there is none; or takes over or joins one that runs.
    ///
    /// # Errors
    /// [`LocalError`].
    pub async fn start(data_dir: &Path) -> Result<Self, LocalError> {
        let unusable = |cause| LocalError::DataDir { path: data_dir.to_owned(), cause };
        fs::create_dir_all(data_dir).map_err(unusable)?;
        let dir = fs::canonicalize(data_dir).map_err(unusable)?;
        let place = Place { data: dir.join("postgres"), socket_dir: dir.join("run"), dir };
        let length = place.socket_dir.join(SOCKET_NAME).as_os_str().len();
        if length > SOCKET_PATH_MAX {
            return Err(LocalError::PathTooLong { path: place.dir, length });
        }
        let lock = File::options().create(true).append(true).open(place.dir.join("lock")).map_err(unusable)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            tracing::info!(data_dir = %place.dir.display(), "joining the cluster that another process runs");
            place.accepts(START_TIMEOUT).await.map_err(|cause| place.failure(cause))?;
            return Ok(Self { place, state: State::Joined });
        }
        let mut server = if let Some(pid) = place.running() {
            tracing::info!(pid = pid.as_raw_nonzero(), "taking over a PostgreSQL server left running");
            Server::Adopted(place.clone())
        } else {
            place.make()?;
            place.start()?
        };
        tokio::select! {
            accepted = place.accepts(START_TIMEOUT) => accepted.map_err(|cause| place.failure(cause))?,
            () = server.ended() => return Err(place.failure("it ended".to_owned())),
        }
        Ok(Self { place, state: State::Owned { server: Some(server), keeper: None, _lock: lock } })
    }

    /// How to connect to it.
    #[must_use]
    pub fn connection_settings(&self) -> tokio_postgres::Config {
        self.place.connection_settings()
    }

    /// Starts the server again whenever it ends, from now until [`Self::stop`], and counts that. Only where this process owns
    /// it, and only the first call has an effect.
    pub fn keep_running(&mut self, restarts: Counter) {
        if let State::Owned { server, keeper, .. } = &mut self.state
            && let Some(server) = server.take()
        {
            *keeper = Some(Keeper::start(self.place.clone(), server, restarts));
        }
    }

    /// Stops the server if this process owns it: fast, then at once if that takes too long.
    pub async fn stop(self) {
        let State::Owned { keeper, _lock, .. } = self.state else { return };
        if let Some(keeper) = keeper {
            keeper.stop().await;
        }
        for signal in [Signal::INT, Signal::QUIT] {
            if self.place.end(signal, STOP_TIMEOUT).await {
                return;
            }
        }
        tracing::error!(data = %self.place.data.display(), "the private PostgreSQL server does not stop");
    }
}
