//! The server process of a private cluster: making, starting, finding and signalling it.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal};
use tokio::sync::watch;
use tokio_postgres::NoTls;

use super::binaries::{self, Binaries};
use super::owner::Owner;
use super::process::Process;
use super::{DATABASE, LOOK_EVERY, LocalError, SUPERUSER};
use crate::database::root_cause;

/// PostgreSQL writes its pid file a few milliseconds after it starts.
const PID_FILE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two checks of an adopted server, whose end the system does not report to us.
const LOOK_AT_ADOPTED_EVERY: Duration = Duration::from_millis(250);

/// A log that is larger is renamed at the next start.
const LOG_MAX_BYTES: u64 = 10 * 1024 * 1024;
/// More than PostgreSQL writes to its small files.
const FILE_MAX_BYTES: u64 = 4096;
/// `O_NOFOLLOW | O_NONBLOCK`: no link is followed, and no pipe waited for.
#[expect(clippy::cast_possible_wrap, reason = "flags of the C interface, which calls them signed")]
const NO_FOLLOW: i32 = (OFlags::NOFOLLOW.bits() | OFlags::NONBLOCK.bits()) as i32;

/// The directories of a cluster.
#[derive(Debug, Clone)]
pub(super) struct ClusterDir {
    /// The service's data directory.
    pub(super) dir: PathBuf,
    /// The server's data directory.
    pub(super) data: PathBuf,
    pub(super) socket_dir: PathBuf,
    /// Position in its log where the last start begins.
    pub(super) log_start: Arc<AtomicU64>,
}

/// A server that was started or adopted. Its drop stops it, because nobody else would.
#[derive(Debug)]
pub(super) struct Server {
    process: Process,
    /// The exit of a child of this process, for which a thread waits. `None`: an adopted server of a killed service.
    exit: Option<watch::Receiver<bool>>,
    is_left: bool,
}

impl Server {
    /// The server that a killed service left, if one runs here.
    pub(super) fn adopt(place: &ClusterDir) -> Option<Self> {
        Some(Self { process: place.running()?, exit: None, is_left: false })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) {
        match &mut self.exit {
            // If the thread is gone, the server has ended.
            Some(exit) => drop(exit.wait_for(|ended| *ended).await),
            None => {
                while self.process.is_alive() {
                    tokio::time::sleep(LOOK_AT_ADOPTED_EVERY).await;
                }
            }
        }
    }

    /// Signals it and waits for its end; `false` where it outlasts `patience`.
    pub(super) async fn end(&mut self, signal: Signal, patience: Duration) -> bool {
        self.process.signal(signal);
        let deadline = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        true
    }

    /// Leaves it running when this is dropped.
    pub(super) fn leave(&mut self) {
        self.is_left = true;
    }

    fn is_alive(&self) -> bool {
        self.exit.as_ref().map_or_else(|| self.process.is_alive(), |exit| !*exit.borrow())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.is_left && self.is_alive() {
            self.process.signal(Signal::INT);
        }
    }
}

impl ClusterDir {
    /// The directories below an existing data directory.
    pub(super) fn of(data_dir: &Path) -> io::Result<Self> {
        let dir = fs::canonicalize(data_dir)?;
        Ok(Self { data: dir.join("postgres"), socket_dir: dir.join("run"), dir, log_start: Arc::default() })
    }

    /// Settings to connect with.
    pub(super) fn connection_settings(&self) -> tokio_postgres::Config {
        let mut settings = tokio_postgres::Config::new();
        settings.host_path(&self.socket_dir).user(SUPERUSER).dbname(DATABASE);
        settings
    }

    /// The process that serves here, according to PostgreSQL's pid file. The server's user can write that file, so the
    /// process is checked to be a server of this cluster.
    pub(super) fn running(&self) -> Option<Process> {
        let pid = self.noted_pid()?;
        Process::open(pid).filter(|process| process.serves(&self.data))
    }

    fn noted_pid(&self) -> Option<Pid> {
        let text = read_own(&self.data.join("postmaster.pid")).ok()?;
        // 1 is the system's first process, and numbers below stand for groups of processes.
        let pid = text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 1)?;
        Pid::from_raw(pid)
    }

    /// Waits until connections are accepted. A server that has ended is not noticed here: the caller has to watch for
    /// that.
    pub(super) async fn accepts(&self, patience: Duration) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        loop {
            let Err(error) = self.connection_settings().connect(NoTls).await else { return Ok(()) };
            if Instant::now() > deadline {
                return Err(root_cause(&error));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The error in the server's log since its last start, else `cause`.
    pub(super) fn failure(&self, cause: String) -> LocalError {
        let text = fs::read(self.log()).unwrap_or_default();
        let since = usize::try_from(self.log_start.load(Ordering::Relaxed)).unwrap_or_default();
        let text = String::from_utf8_lossy(text.get(since..).unwrap_or_default());
        let line = text.lines().rev().find(|line| line.contains("FATAL") || line.contains("ERROR"));
        LocalError::Server { program: "postgres", path: self.data.clone(), cause: line.map_or(cause, str::to_owned) }
    }

    /// The file that the server writes its log to.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    /// Opens the log to write. It is in the service's own directory: in the server's, the server's user could place a
    /// link and so make the service write elsewhere.
    fn open_log(&self) -> io::Result<File> {
        let path = self.log();
        if fs::symlink_metadata(&path).is_ok_and(|log| log.len() > LOG_MAX_BYTES) {
            fs::rename(&path, path.with_extension("log.1"))?;
        }
        let log = File::options().create(true).append(true).mode(0o600).custom_flags(NO_FOLLOW).open(&path)?;
        self.log_start.store(log.metadata()?.len(), Ordering::Relaxed);
        Ok(log)
    }

    /// The version of PostgreSQL that made the cluster; `None` where there is no cluster yet.
    pub(super) fn version(&self) -> Option<String> {
        read_own(&self.data.join("PG_VERSION")).ok().map(|text| text.trim().to_owned())
    }

    /// Makes the cluster, if there is none. Takes a second on the caller's thread.
    pub(super) fn make(&self) -> Result<(), LocalError> {
        if self.version().is_some() {
            return Ok(());
        }
        let (binaries, owner) = self.tools()?;
        make_cluster(&binaries, &self.data, owner.as_ref())
    }

    /// Starts the server, with a log of its own. Takes a few milliseconds on the caller's thread.
    pub(super) fn start(&self) -> Result<Server, LocalError> {
        let (binaries, owner) = self.tools()?;
        self.spawn(&binaries.postgres, owner.as_ref()).map_err(|cause: io::Error| LocalError::Server {
            program: "postgres",
            path: self.data.clone(),
            cause: cause.to_string(),
        })
    }

    /// The programs and their user, after checking and preparing the directories.
    fn tools(&self) -> Result<(Binaries, Option<Owner>), LocalError> {
        let binaries = self.binaries()?;
        let owner = Owner::of_server();
        let unusable = |cause| LocalError::DataDir { path: self.dir.clone(), cause };
        if let Some(owner) = &owner {
            owner.check_reach(&self.dir).map_err(unusable)?;
        }
        own_dir(&self.socket_dir, owner.as_ref()).map_err(unusable)?;
        Ok((binaries, owner))
    }

    /// The programs of the version that made the cluster; without a cluster, the first that are found.
    pub(super) fn binaries(&self) -> Result<Binaries, LocalError> {
        let not_installed = LocalError::NotInstalled { package: binaries::package() };
        let Some(made_by) = self.version() else { return Binaries::find().ok_or(not_installed) };
        Binaries::of_version(&made_by).map_err(|found| match found {
            None => not_installed,
            Some(installed) => LocalError::OtherVersion { path: self.data.clone(), made_by, installed },
        })
    }

    fn spawn(&self, program: &Path, owner: Option<&Owner>) -> io::Result<Server> {
        let log = self.open_log()?;
        let mut server = command(program, &self.dir, owner);
        server.arg("-D").arg(&self.data).arg("-k").arg(&self.socket_dir).args(["-c", "listen_addresses="]);
        server.stdout(log.try_clone()?).stderr(log);
        // Its own process group: Ctrl-C in a terminal must reach only the service, which drains before it stops the
        // server.
        let mut child = server.process_group(0).spawn()?;
        // Before the child is waited for: until then its number is not used again.
        let process = Process::of_child(&child)?;
        let pid = process.pid();
        let (exit, ended) = watch::channel(false);
        // The thread runs until the server has stopped.
        std::thread::Builder::new().name("postgres-exit".into()).spawn(move || {
            let _ = child.wait();
            let _ = exit.send(true);
        })?;
        // Without its pid file, it would look dead.
        let deadline = Instant::now() + PID_FILE_TIMEOUT;
        while self.noted_pid() != Some(pid) && !*ended.borrow() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(Server { process, exit: Some(ended), is_left: false })
    }
}

fn make_cluster(binaries: &Binaries, data: &Path, owner: Option<&Owner>) -> Result<(), LocalError> {
    let failed = |cause: String| LocalError::Server { program: "initdb", path: data.to_owned(), cause };
    // A cluster is made under another name and renamed, so a directory that is not empty is not ours.
    if let Err(error) = fs::remove_dir(data)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(LocalError::NoCluster { path: data.to_owned(), cause: error });
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
        let line = words.lines().find(|line| line.contains("error"));
        let line = line.or_else(|| words.lines().rev().find(|line| !line.trim().is_empty()));
        return Err(failed(line.map_or_else(|| made.status.to_string(), str::to_owned)));
    }
    // initdb did not wait for the disk; the rename below must not be durable before the files.
    rustix::fs::sync();
    fs::rename(&building, data).map_err(|error| failed(error.to_string()))?;
    // Makes the rename durable: acknowledged accounts are in the cluster under its name.
    let parent = File::open(data.parent().unwrap_or(data));
    parent.and_then(|parent| parent.sync_all()).map_err(|error| failed(error.to_string()))
}

/// Reads a file of the server's directory, unless it is a link to somewhere else.
fn read_own(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = File::options().read(true).custom_flags(NO_FOLLOW).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    file.take(FILE_MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// A command that runs as the server's user, away from the service's terminal and working directory.
fn command(program: &Path, dir: &Path, owner: Option<&Owner>) -> Command {
    let mut command = binaries::tool(program);
    command.current_dir(dir).stdin(Stdio::null());
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
