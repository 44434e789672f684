//! The private cluster: a PostgreSQL server of the service's own, for running without any configuration.
//!
//! Lives in the data directory, listens on a unix socket there and never on TCP, and stops with the service. A lock file
//! tells its owner: the process that holds it started the server, or took over one that a killed service left behind.
//! Other processes on the same directory (`rollcall check` beside `rollcall serve`) join and leave the server running.

mod binaries;
mod owner;

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use thiserror::Error;
use tokio_postgres::NoTls;

use binaries::Binaries;
use owner::Owner;

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
    socket_dir: PathBuf,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Held by this process, which stops it. The file is the lock.
    Owned { data: PathBuf, _lock: File },
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
        let data_dir = fs::canonicalize(data_dir).map_err(unusable)?;
        let socket_dir = data_dir.join("run");
        let length = socket_dir.join(SOCKET_NAME).as_os_str().len();
        if length > SOCKET_PATH_MAX {
            return Err(LocalError::PathTooLong { path: data_dir, length });
        }
        let lock = File::options().create(true).append(true).open(data_dir.join("lock")).map_err(unusable)?;
        let cluster = if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let data = data_dir.join("postgres");
            match running_server(&data) {
                Some(pid) => tracing::info!(pid = pid.as_raw_nonzero(), "taking over a PostgreSQL server left running"),
                None => start_server(&data_dir, &data, &socket_dir)?,
            }
            Self { socket_dir, state: State::Owned { data, _lock: lock } }
        } else {
            tracing::info!(data_dir = %data_dir.display(), "joining the cluster that another process runs");
            Self { socket_dir, state: State::Joined }
        };
        cluster.wait_until_ready().await?;
        Ok(cluster)
    }

    /// How to connect to it.
    #[must_use]
    pub fn connection_settings(&self) -> tokio_postgres::Config {
        let mut settings = tokio_postgres::Config::new();
        settings.host_path(&self.socket_dir).user(SUPERUSER).dbname(DATABASE);
        settings
    }

    /// Stops the server if this process owns it: fast, then at once if that takes too long.
    pub async fn stop(self) {
        let State::Owned { data, .. } = &self.state else { return };
        for (signal, patience) in [(Signal::INT, STOP_TIMEOUT), (Signal::QUIT, STOP_TIMEOUT)] {
            let Some(pid) = running_server(data) else { return };
            let _ = kill_process(pid, signal);
            let deadline = Instant::now() + patience;
            while Instant::now() < deadline {
                if running_server(data).is_none() {
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        tracing::error!(data = %data.display(), "the private PostgreSQL server does not stop");
    }

    async fn wait_until_ready(&self) -> Result<(), LocalError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let cause = match self.connection_settings().connect(NoTls).await {
                Ok(_) => return Ok(()),
                Err(error) => super::root_cause(&error),
            };
            let died = match &self.state {
                State::Owned { data, .. } => running_server(data).is_none(),
                State::Joined => false,
            };
            if died || Instant::now() > deadline {
                let data = self.socket_dir.with_file_name("postgres");
                let cause = last_line(&data.join("server.log")).unwrap_or(cause);
                return Err(LocalError::Server { program: "postgres", path: data, cause });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// The process that serves `data`, by the file that PostgreSQL keeps there.
fn running_server(data: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?)?;
    // Not ours to signal is alive too.
    (test_kill_process(pid) != Err(rustix::io::Errno::SRCH)).then_some(pid)
}

fn start_server(data_dir: &Path, data: &Path, socket_dir: &Path) -> Result<(), LocalError> {
    let binaries = Binaries::find().ok_or(LocalError::NotInstalled { package: binaries::package() })?;
    let owner = Owner::of_server();
    let unusable = |cause| LocalError::DataDir { path: data_dir.to_owned(), cause };
    if let Some(owner) = &owner {
        // Others may pass through to the directories below, which are the server's, and see nothing on the way.
        fs::set_permissions(data_dir, Permissions::from_mode(0o711)).map_err(unusable)?;
        owner.check_reach(data_dir).map_err(unusable)?;
    } else {
        fs::set_permissions(data_dir, Permissions::from_mode(0o700)).map_err(unusable)?;
    }
    own_dir(socket_dir, owner.as_ref()).map_err(unusable)?;
    if !data.join("PG_VERSION").exists() {
        make_cluster(&binaries, data, owner.as_ref())?;
    }
    let failed =
        |cause: io::Error| LocalError::Server { program: "postgres", path: data.to_owned(), cause: cause.to_string() };
    let log = File::create(data.join("server.log")).map_err(failed)?;
    let mut server = command(&binaries.postgres, data_dir, owner.as_ref());
    server.arg("-D").arg(data).arg("-k").arg(socket_dir).args(["-c", "listen_addresses="]);
    server.stdout(log.try_clone().map_err(failed)?).stderr(log);
    // Its own process group: Ctrl-C in a terminal must reach the service alone, which drains before it stops the server.
    let mut child = server.process_group(0).spawn().map_err(failed)?;
    // The server runs until `Cluster::stop`, or longer where this process is killed. The thread collects its exit status.
    std::thread::Builder::new().name("postgres-exit".into()).spawn(move || child.wait()).map_err(failed)?;
    wait_for_pid_file(data);
    Ok(())
}

/// PostgreSQL writes its pid file a few milliseconds after it starts; before that it would look dead.
fn wait_for_pid_file(data: &Path) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while running_server(data).is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn make_cluster(binaries: &Binaries, data: &Path, owner: Option<&Owner>) -> Result<(), LocalError> {
    let failed = |cause: String| LocalError::Server { program: "initdb", path: data.to_owned(), cause };
    // A first start that was killed half way leaves a directory without PG_VERSION, which initdb refuses.
    if data.exists() {
        fs::remove_dir_all(data).map_err(|error| failed(error.to_string()))?;
    }
    let building = data.with_extension("new");
    let _ = fs::remove_dir_all(&building);
    own_dir(&building, owner).map_err(|error| failed(error.to_string()))?;
    tracing::info!(data = %data.display(), "making a private PostgreSQL cluster");
    let made = command(&binaries.initdb, data.parent().unwrap_or(data), owner)
        .arg("-D")
        .arg(&building)
        .args(["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"])
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !made.status.success() {
        let words = String::from_utf8_lossy(&made.stderr);
        return Err(failed(words.lines().find(|line| line.contains("error")).unwrap_or("no message").to_owned()));
    }
    // initdb did not wait for the disk; the rename below must not come before what it renames.
    rustix::fs::sync();
    fs::rename(&building, data).map_err(|error| failed(error.to_string()))
}

/// A command that runs as the server's user, away from the service's terminal and working directory.
fn command(program: &Path, dir: &Path, owner: Option<&Owner>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).stdin(Stdio::null()).env("LC_ALL", "C.UTF-8");
    for name in ["PGDATA", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGOPTIONS"] {
        command.env_remove(name);
    }
    if let Some(owner) = owner {
        command.uid(owner.uid).gid(owner.gid);
    }
    command
}

fn own_dir(path: &Path, owner: Option<&Owner>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    match owner {
        Some(owner) => std::os::unix::fs::chown(path, Some(owner.uid), Some(owner.gid)),
        None => Ok(()),
    }
}

fn last_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().rev().find(|line| line.contains("FATAL") || line.contains("ERROR")).map(str::to_owned)
}
