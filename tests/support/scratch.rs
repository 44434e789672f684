//! The directory of this test process, and the child that removes it when the process is gone for any reason.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

/// Reads until this process ends (a SIGKILL closes the pipe as well as an exit does), then ends its remaining programs
/// and servers, and removes all their files.
const CLEAN_UP: &str = r#"
cat > /dev/null
for program in "$1"/programs/*; do
    [ -e "$program" ] && kill -KILL "${program##*/}"
done
servers=
for file in "$1"/*/data/postgres/postmaster.pid; do
    [ -e "$file" ] && servers="$servers $(head -n 1 "$file")"
done
rounds=0
for server in $servers; do
    kill -QUIT "$server"
    while kill -0 "$server" && [ $rounds -lt 100 ]; do
        sleep 0.1
        rounds=$((rounds + 1))
    done
done
rm -rf "$1"
"#;

struct Scratch {
    root: PathBuf,
    made: AtomicUsize,
    /// Holds the write end of the pipe. Nobody inherits it, because Rust opens pipes close-on-exec.
    _cleaner: Child,
}

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| {
    let root = tempfile::Builder::new().prefix("rollcall-").tempdir().unwrap().keep();
    // Started by root, PostgreSQL runs as another user, who has to pass through.
    fs::set_permissions(&root, Permissions::from_mode(0o711)).unwrap();
    fs::create_dir(root.join("programs")).unwrap();
    let cleaner = Command::new("sh")
        .args(["-c", CLEAN_UP, "sh"])
        .arg(&root)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Its own process group: Ctrl-C in a terminal ends the tests, and must not end the cleaner.
        .process_group(0)
        .spawn()
        .unwrap();
    Scratch { root, made: AtomicUsize::new(0), _cleaner: cleaner }
});

/// A new directory. A cluster in its `data/postgres` is stopped at the end.
pub fn dir() -> PathBuf {
    let dir = SCRATCH.root.join(SCRATCH.made.fetch_add(1, Ordering::Relaxed).to_string());
    fs::create_dir(&dir).unwrap();
    dir
}

/// Remembers a program to end, until the guard is dropped.
pub fn remember(pid: u32) -> Remembered {
    let file = SCRATCH.root.join("programs").join(pid.to_string());
    fs::write(&file, "").unwrap();
    Remembered(file)
}

pub struct Remembered(PathBuf);

impl Drop for Remembered {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The process that serves the cluster in `data`.
pub fn postmaster(data: &Path) -> Option<rustix::process::Pid> {
    let text = fs::read_to_string(data.join("postgres/postmaster.pid")).ok()?;
    let pid = rustix::process::Pid::from_raw(text.lines().next()?.trim().parse().ok()?)?;
    rustix::process::test_kill_process(pid).is_ok().then_some(pid)
}

/// A free port, below those that the system gives to outgoing connections: a client that keeps trying to reach a
/// stopped server could otherwise be given the server's own port, and connect to itself.
#[allow(dead_code, reason = "for servers that cannot pick a port themselves")]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another process with these tests begins elsewhere.
    let begin = 16_000 + u16::try_from(std::process::id() % 12_000).unwrap();
    (0..1000)
        .map(|_| begin + NEXT.fetch_add(1, Ordering::Relaxed))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}
