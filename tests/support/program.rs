//! The real program, in a process of its own.

use std::fs;
use std::io::Read;
use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use super::scratch::{self, Remembered, postmaster};
use super::{Api, SECRET, TestDatabase, soon};

/// A directory to run programs in: working directory, home and, in `data`, the data directory.
pub struct Home(PathBuf);

impl Home {
    pub fn new() -> Self {
        Self(scratch::dir())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A program to run here. Of this process's environment it gets only the paths of other programs.
    pub fn program(&self, args: &[&str]) -> Start {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
        command.args(args).current_dir(&self.0).env_clear();
        for name in ["PATH", "PG_BINDIR", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("HOME", &self.0);
        Start(command)
    }

    /// `serve` in a session of its own, as under a service manager.
    pub fn serve_in_session(&self, db: &TestDatabase) -> Start {
        let Start(service) = self.serve_on(db);
        let mut command = Command::new("setsid");
        command.arg(service.get_program()).current_dir(&self.0).env_clear();
        command.envs(service.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Start(command)
    }

    /// `serve` where the system lets it open no more than `count` files.
    #[allow(dead_code, reason = "for tests of that limit")]
    pub fn serve_with_files(&self, db: &TestDatabase, count: u32) -> Start {
        let Start(service) = self.serve_on(db);
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -n {count}; exec \"$0\"")).arg(service.get_program());
        command.current_dir(&self.0).env_clear();
        command.envs(service.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Start(command)
    }

    /// `serve` with free ports, the data directory here and the cheapest hashes.
    pub fn serve(&self) -> Start {
        self.program(&[])
            .env("ROLLCALL__DATA_DIR", self.data().to_str().unwrap())
            .env("ROLLCALL__SERVER__PORT", "0")
            .env("ROLLCALL__SERVER__HOST", "127.0.0.1")
            .env("ROLLCALL__HASHING__COST", "4")
            .env("ROLLCALL__HASHING__ENGINES", "1")
            .env("ROLLCALL__HASHING__LANES", "2")
            .env("ROLLCALL__TELEMETRY__ADMIN_ADDR", "off")
    }

    /// `serve` on a test's database.
    pub fn serve_on(&self, db: &TestDatabase) -> Start {
        self.serve().env("DATABASE_URL", &db.url()).env("JWT_SECRET", SECRET)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A program that was killed leaves its cluster running.
        if let Some(pid) = postmaster(&self.data()) {
            let _ = kill_process(pid, Signal::QUIT);
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program about to start.
pub struct Start(Command);

impl Start {
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.0.env_remove(name);
        self
    }

    pub fn arg(mut self, arg: &str) -> Self {
        self.0.arg(arg);
        self
    }

    /// Starts it.
    pub fn spawn(mut self) -> Program {
        let mut child =
            self.0.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
        let remembered = scratch::remember(child.id());
        let pid = Pid::from_child(&child);
        let (stdout, stderr) = (collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap()));
        let (exited, exit) = watch::channel(None);
        std::thread::spawn(move || exited.send(child.wait().ok()));
        Program { pid, stdout, stderr, exit, _remembered: remembered }
    }

    /// Starts it and waits until it is ready.
    pub async fn ready(self) -> Service {
        self.spawn().ready().await
    }

    /// Runs it to its end.
    pub async fn run(self) -> Exit {
        self.spawn().exit().await
    }
}

/// A running program. Killed when dropped.
pub struct Program {
    pub pid: Pid,
    stdout: watch::Receiver<String>,
    stderr: watch::Receiver<String>,
    exit: watch::Receiver<Option<ExitStatus>>,
    _remembered: Remembered,
}

/// The end of a program and its output.
#[derive(Debug)]
pub struct Exit {
    /// `None` where a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Exit {
    /// Checks that it failed with exit code 1 and one line on stderr which holds all of `words`.
    #[track_caller]
    pub fn expect_failure(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        let lines: Vec<_> = self.stderr.lines().filter(|line| !line.starts_with('{')).collect();
        assert_eq!(lines.len(), 1, "one line, and JSON of the log: {self:?}");
        assert!(lines[0].starts_with("rollcall: "), "{self:?}");
        for word in words {
            assert!(lines[0].contains(word), "{word:?} in {:?}", lines[0]);
        }
        assert_eq!(self.stdout, "", "{self:?}");
    }
}

impl Program {
    pub fn signal(&self, signal: Signal) {
        if self.exit.borrow().is_none() {
            let _ = kill_process(self.pid, signal);
        }
    }

    pub fn stderr(&self) -> String {
        self.stderr.borrow().clone()
    }

    /// Waits until stderr holds `text`.
    pub async fn logged(&mut self, text: &str) {
        let seen = soon(text, self.stderr.wait_for(|stderr| stderr.contains(text))).await.is_ok();
        assert!(seen, "{text:?} in {}", self.stderr());
    }

    pub fn stdout(&self) -> String {
        self.stdout.borrow().clone()
    }

    /// Waits until stdout holds `text`.
    pub async fn printed(&mut self, text: &str) {
        let seen = soon(text, self.stdout.wait_for(|stdout| stdout.contains(text))).await.is_ok();
        assert!(seen, "{text:?} in {}", self.stdout.borrow().clone());
    }

    /// Waits until it prints its address.
    pub async fn ready(mut self) -> Service {
        let said = soon("listening", self.stdout.wait_for(|text| text.contains('\n'))).await.is_ok();
        assert!(said, "it ended: {}", self.stderr());
        let line = self.stdout.borrow().clone();
        let (_, addr) = line.trim_end().strip_prefix("listening on ").expect("the line").split_once("://").unwrap();
        let addr = addr.parse().unwrap();
        Service { program: self, api: Api::new(addr) }
    }

    /// Waits for its end.
    pub async fn exit(mut self) -> Exit {
        self.ended().await
    }

    async fn ended(&mut self) -> Exit {
        let status = soon("an exit", self.exit.wait_for(Option::is_some)).await.unwrap().unwrap();
        // Its children may hold the pipes open. Its own output is in them by now, and is read to the end if there are
        // no children.
        for output in [&mut self.stdout, &mut self.stderr] {
            soon("the end of the output", async { while output.changed().await.is_ok() {} }).await;
        }
        let (stdout, stderr) = (self.stdout.borrow().clone(), self.stderr.borrow().clone());
        Exit { code: status.code(), signal: status.signal(), stdout, stderr }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// A program that serves.
pub struct Service {
    pub program: Program,
    api: Api,
}

impl Service {
    /// Sends SIGTERM and waits for its end.
    pub async fn stop(self) -> Exit {
        self.program.signal(Signal::TERM);
        self.program.exit().await
    }

    /// Kills it, as a crash would.
    pub async fn kill(self) {
        self.program.signal(Signal::KILL);
        assert_eq!(self.program.exit().await.signal, Some(9));
    }
}

impl Deref for Service {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

/// Gathers a pipe's text as it comes.
fn collect(mut pipe: impl Read + Send + 'static) -> watch::Receiver<String> {
    let (sender, receiver) = watch::channel(String::new());
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut bytes) {
            sender.send_modify(|text| text.push_str(&String::from_utf8_lossy(&bytes[..count])));
        }
    });
    receiver
}
