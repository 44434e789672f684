//! The private cluster: a PostgreSQL server of the service's own, for running without any configuration.
//!
//! It is in the data directory, listens on a unix socket there and never on TCP, and stops with the service. A lock
//! file shows its owner: the process that holds it started the server, or took over one that a killed service left
//! behind. Other processes on the same directory (`rollcall check` beside `rollcall serve`) join and leave the server
//! running.

mod binaries;
mod keeper;
mod owner;
mod process;
mod server;

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use thiserror::Error;

use crate::telemetry::Counter;
use keeper::Keeper;
use server::{ClusterDir, Server};
use tokio::task::spawn_blocking;

/// The longest path that every system takes for a unix socket (macOS has 104 bytes with the final NUL, Linux 108).
const SOCKET_PATH_MAX: usize = 103;
/// PostgreSQL's own name for a socket of port 5432; the port is only part of the name.
const SOCKET_NAME: &str = ".s.PGSQL.5432";
/// How long the server may take to accept connections: crash recovery of a large cluster takes a while.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a fast shutdown may take before it becomes an immediate one.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause between two checks of a server that is starting or stopping.
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
        /// The error of the system.
        cause: io::Error,
    },
    /// The data directory is another user's, or writable by others.
    #[error("data_dir {path} is not safe: {flaw}; set data_dir to a directory that nobody else can write, such as one below it that is not there yet", path = .path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        flaw: String,
    },
    /// Something else is where the cluster should be.
    #[error("{path} holds no PostgreSQL cluster and cannot make room for one: {cause}; move it away, or set another data_dir", path = .path.display())]
    NoCluster {
        /// The cluster's directory.
        path: PathBuf,
        /// The error of the system.
        cause: io::Error,
    },
    /// The cluster is another PostgreSQL version's.
    #[error(
        "the cluster in {path} was made by PostgreSQL {made_by}, and {installed} is installed; install PostgreSQL {made_by} \
         beside it, or dump the cluster with {made_by} (pg_dumpall) and restore it into a new data_dir", path = .path.display()
    )]
    OtherVersion {
        /// The cluster's directory.
        path: PathBuf,
        /// The version that made it.
        made_by: String,
        /// The installed version.
        installed: String,
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
        /// The last line of its log, or the error of the system.
        cause: String,
    },
}

/// A running private cluster.
#[derive(Debug)]
pub struct Cluster {
    place: ClusterDir,
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
    /// Starts the cluster of `data_dir`, making it first if there is none; or takes over or joins a running one.
    ///
    /// # Errors
    /// [`LocalError`].
    pub async fn start(data_dir: &Path) -> Result<Self, LocalError> {
        let unusable = |cause| LocalError::DataDir { path: data_dir.to_owned(), cause };
        make_dir(data_dir).map_err(unusable)?;
        let place = ClusterDir::of(data_dir).map_err(unusable)?;
        check_dir(&place.dir)?;
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
        let mut server = if let Some(server) = Server::adopt(&place) {
            tracing::info!(pid = server.pid().as_raw_nonzero(), "taking over a PostgreSQL server left running");
            server
        } else {
            let starting = place.clone();
            // If this future is dropped during the start, the server is dropped when it has started, and so stopped.
            let started = spawn_blocking(move || starting.make().and_then(|()| starting.start())).await;
            started.map_err(|error| place.failure(error.to_string()))??
        };
        tokio::select! {
            accepted = place.accepts(START_TIMEOUT) => accepted.map_err(|cause| place.failure(cause))?,
            () = server.ended() => return Err(place.failure("it ended".to_owned())),
        }
        Ok(Self { place, state: State::Owned { server: Some(server), keeper: None, _lock: lock } })
    }

    /// Settings to connect with.
    #[must_use]
    pub fn connection_settings(&self) -> tokio_postgres::Config {
        self.place.connection_settings()
    }

    /// Restarts the server whenever it ends, from now until [`Self::stop`], and counts that. Only where this process
    /// owns it, and only the first call has an effect.
    pub fn keep_running(&mut self, restarts: Counter) {
        if let State::Owned { server, keeper, .. } = &mut self.state
            && let Some(server) = server.take()
        {
            *keeper = Some(Keeper::start(self.place.clone(), server, restarts));
        }
    }

    /// Stops the server if this process owns it: by a fast shutdown, then by an immediate one if that takes too long.
    pub async fn stop(self) {
        let State::Owned { server, keeper, _lock } = self.state else { return };
        let server = match keeper {
            Some(keeper) => keeper.stop().await,
            None => server,
        };
        let Some(mut server) = server.or_else(|| Server::adopt(&self.place)) else { return };
        for signal in [Signal::INT, Signal::QUIT] {
            if server.end(signal, STOP_TIMEOUT).await {
                return;
            }
        }
        server.leave();
        tracing::error!(data = %self.place.data.display(), "the private PostgreSQL server does not stop");
    }
}

/// Whether there is a cluster in `data_dir`.
#[must_use]
pub fn exists(data_dir: &Path) -> bool {
    ClusterDir::of(data_dir).is_ok_and(|place| place.version().is_some())
}

/// Checks whether a cluster could be made in `data_dir`, without making anything.
///
/// # Errors
/// [`LocalError`].
pub fn check_new(data_dir: &Path) -> Result<(), LocalError> {
    binaries::Binaries::find().ok_or(LocalError::NotInstalled { package: binaries::package() })?;
    let unusable = |cause| LocalError::DataDir { path: data_dir.to_owned(), cause };
    if data_dir.is_dir() {
        let place = ClusterDir::of(data_dir).map_err(unusable)?;
        check_dir(&place.dir)?;
        let is_free = place.data.read_dir().map_or(true, |mut entries| entries.next().is_none());
        return if is_free {
            Ok(())
        } else {
            Err(LocalError::NoCluster { path: place.data, cause: io::ErrorKind::DirectoryNotEmpty.into() })
        };
    }
    let parent = data_dir.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
    rustix::fs::access(parent, rustix::fs::Access::WRITE_OK).map_err(|error| unusable(error.into()))
}

/// Makes the data directory where there is none. Others see nothing in it: at most they may pass through to the
/// directories below, which belong to the server's user where the service runs as root.
fn make_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mode = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
        // Another process came first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Refuses a directory that others can write: they could make the service work on their database, or sign with their
/// secret.
fn check_dir(path: &Path) -> Result<(), LocalError> {
    let refuse = |flaw| LocalError::Unsafe { path: path.to_owned(), flaw };
    let dir = fs::metadata(path).map_err(|cause| LocalError::DataDir { path: path.to_owned(), cause })?;
    let own = rustix::process::geteuid().as_raw();
    // Root has all rights anyway, and makes the volumes of containers.
    if dir.uid() != own && dir.uid() != 0 {
        return Err(refuse(format!("it belongs to user {}, and the service runs as {own}", dir.uid())));
    }
    if dir.mode() & 0o022 != 0 {
        return Err(refuse(format!("others than its owner can write to it (mode {:o})", dir.mode() & 0o7777)));
    }
    Ok(())
}
