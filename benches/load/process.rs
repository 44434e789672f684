//! Processes of the benchmark: each in a group of its own, so that none outlives it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::Outcome;
use super::machine::field;

/// For a process to end after SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);
/// For a server to say where it listens.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A running process, killed with its children when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: Pid,
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

/// A command that knows nothing of this process's settings but where programs are, in a session of its own as under a
/// service manager: Linux shares the cores among sessions.
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    let mut command = if cfg!(target_os = "linux") {
        let mut command = Command::new("setsid");
        command.arg(program.as_ref());
        command
    } else {
        let mut command = Command::new(program.as_ref());
        command.process_group(0);
        command
    };
    command.env_clear();
    for name in ["PATH", "HOME", "LD_LIBRARY_PATH", "PG_BINDIR"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command
}

impl Process {
    /// Starts `command`; what it says on standard error goes to the file `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Outcome<Self> {
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn()?;
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).ok_or("a process without an id")?;
        let lines = child.stdout.take().map(|out| BufReader::new(out).lines());
        Ok(Self { child, pid: id, lines })
    }

    /// Waits for the line `listening on http://ADDRESS`, and returns the address.
    pub(crate) async fn listening(&mut self) -> Outcome<std::net::SocketAddr> {
        let lines = self.lines.as_mut().ok_or("a process without output")?;
        let line = timeout(START_TIMEOUT, lines.next_line()).await.map_err(|_| "a server does not get ready")??;
        let line = line.ok_or("a server ended before it was ready")?;
        let addr = line.strip_prefix("listening on http://").ok_or("a server says something else than where it is")?;
        Ok(addr.parse()?)
    }

    /// Resident memory in bytes. Linux alone tells.
    pub(crate) fn memory(&self) -> Outcome<f64> {
        let path = format!("/proc/{}/status", self.pid.as_raw_nonzero());
        let text = field(&path, "VmRSS").ok_or("the system does not tell a process's memory")?;
        let kib: f64 = text.split(' ').next().unwrap_or_default().parse()?;
        Ok(kib * 1024.0)
    }

    /// Ends it and waits for that.
    pub(crate) async fn stop(mut self) -> Outcome<()> {
        kill_process(self.pid, Signal::TERM)?;
        timeout(STOP_TIMEOUT, self.child.wait()).await.map_err(|_| "a process does not stop")??;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended may have left its number to another.
        if self.child.id().is_some() {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}

/// Runs a tool to its end and returns what it printed.
pub(crate) async fn output(command: &mut Command, limit: Duration) -> Outcome<String> {
    let name = PathBuf::from(command.as_std().get_program()).display().to_string();
    command.stdin(Stdio::null()).kill_on_drop(true);
    let told = timeout(limit, command.output()).await.map_err(|_| format!("{name} takes too long"))?;
    let told = told.map_err(|cause| format!("{name}: {cause}"))?;
    if !told.status.success() {
        let words = String::from_utf8_lossy(&told.stderr);
        return Err(format!("{name}: {}", words.lines().last().unwrap_or("no message")).into());
    }
    Ok(String::from_utf8_lossy(&told.stdout).into_owned())
}
