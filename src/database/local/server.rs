//! The server of a private cluster as a process: made, started, found and signalled.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::sync::watch;
use tokio_postgres::NoTls;

use super::binaries::{self, Binaries};
use super::owner::Owner;
use super::{DATABASE, LOOK_EVERY, LocalError, SUPERUSER};
use crate::database::root_cause;

/// PostgreSQL writes its pid file a few milliseconds after it starts.
const PID_FILE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two looks at a server that is nobody's child here, and so ends without a word.
const LOOK_AT_ADOPTED_EVERY: Duration = Duration::from_millis(250);

/// Where a cluster lies.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The service's data directory.
    pub(super) dir: PathBuf,
    /// The server's.
    pub(super) data: PathBuf,
    pub(super) socket_dir: PathBuf,
}

/// A server that has been started or taken over, and tells when it has ended.
#[derive(Debug)]
pub(super) enum Server {
    /// A child of this process, whose exit a thread waits for.
    Child(watch::Receiver<bool>),
    /// A killed service's.
    Adopted(Place),
}

impl Server {
    /// Waits for its end.
    pub(super) async fn ended(&mut self) {
        match self {
            // The thread gone is as good as its word.
            Self::Child(ended) => drop(ended.wait_for(|ended| *ended).await),
            Self::Adopted(place) => {
                while place.running().is_some() {
                    tokio::time::sleep(LOOK_AT_ADOPTED_EVERY).await;
                }
            }
        }
    }
}

impl Place {
    /// How to connect.
    pub(super) fn connection_settings(&self) -> tokio_postgres::Config {
        let mut settings = tokio_postgres::Config::new();
        settings.host_path(&self.socket_dir).user(SUPERUSER).dbname(DATABASE);
        settings
    }

    /// The process that serves here, by the file that PostgreSQL keeps.
    pub(super) fn running(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?)?;
        // After a crash of the machine the number may be another program's.
        let is_other = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()))
            .is_ok_and(|name| name.trim_end() != "postgres");
        if is_other {
            return None;
        }
        // Not ours to signal is alive too.
        (test_kill_process(pid) != Err(rustix::io::Errno::SRCH)).then_some(pid)
    }

    /// Signals the process that serves here, if there is one, and waits for its end; `false` where it outlasts `patience`.
    pub(super) async fn end(&self, signal: Signal, patience: Duration) -> bool {
        let Some(pid) = self.running() else { return true };
        let _ = kill_process(pid, signal);
        let deadline = Instant::now() + patience;
        while self.running().is_some() {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        true
    }

    /// Waits until connections are accepted. Never, where the server has ended: ask for that beside.
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

    /// What the server's log says went wrong, else `cause`.
    pub(super) fn failure(&self, cause: String) -> LocalError {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let line = text.lines().rev().find(|line| line.contains("FATAL") || line.contains("ERROR"));
        LocalError::Server { program: "postgres", path: self.data.clone(), cause: line.map_or(cause, str::to_owned) }
    }

    /// The file that the server writes its log to.
    pub(super) fn log(&self) -> PathBuf {
        self.data.join("server.log")
    }

    /// Makes the cluster, if there is none. Takes a second on the caller's thread.
    pub(super) fn make(&self) -> Result<(), LocalError> {
        if self.data.join("PG_VERSION").exists() {
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

    /// The programs and their user, to whom the directories are given.
    fn tools(&self) -> Result<(Binaries, Option<Owner>), LocalError> {
        let binaries = Binaries::find().ok_or(LocalError::NotInstalled { package: binaries::package() })?;
        let owner = Owner::of_server();
        let unusable = |cause| LocalError::DataDir { path: self.dir.clone(), cause };
        if let Some(owner) = &owner {
            // Others may pass through to the directories below, which are the server's, and see nothing on the way.
            fs::set_permissions(&self.dir, Permissions::from_mode(0o711)).map_err(unusable)?;
            owner.check_reach(&self.dir).map_err(unusable)?;
        } else {
            fs::set_permissions(&self.dir, Permissions::from_mode(0o700)).map_err(unusable)?;
        }
        own_dir(&self.socket_dir, owner.as_ref()).map_err(unusable)?;
        Ok((binaries, owner))
    }

    fn spawn(&self, program: &Path, owner: Option<&Owner>) -> io::Result<Server> {
        let log = File::create(self.log())?;
        let mut server = command(program, &self.dir, owner);
        server.arg("-D").arg(&self.data).arg("-k").arg(&self.socket_dir).args(["-c", "listen_addresses="]);
        server.stdout(log.try_clone()?).stderr(log);
        // Its own process group: Ctrl-C in a terminal must reach the service alone, which drains before it stops the server.
        let mut child = server.process_group(0).spawn()?;
        let pid = Pid::from_child(&child);
        let (exit, ended) = watch::channel(false);
        // It runs until it is stopped, or longer where this process is killed.
        std::thread::Builder::new().name("postgres-exit".into()).spawn(move || {
            let _ = child.wait();
            let _ = exit.send(true);
        })?;
        // Before its file is there it would look dead.
        let deadline = Instant::now() + PID_FILE_TIMEOUT;
        while self.running() != Some(pid) && !*ended.borrow() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(Server::Child(ended))
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
