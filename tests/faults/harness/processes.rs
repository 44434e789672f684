//! The processes of a PostgreSQL server: its postmaster and the postmaster's children.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A process that was killed is gone by then.
const GONE_AFTER: Duration = Duration::from_secs(10);

/// Kills all of a server at once, as the end of its machine would; none of them can say a word.
pub fn kill(postmaster: &mut Child) {
    let children = kill_all(Pid::from_child(postmaster));
    let _ = postmaster.wait();
    let deadline = Instant::now() + GONE_AFTER;
    // A successor refuses the data directory for as long as one of them is attached to the shared memory.
    while children.iter().any(|child| parent(*child).is_some()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Kills a postmaster, whoever's child it is, and its children, which are returned.
pub fn kill_all(postmaster: Pid) -> Vec<Pid> {
    // Held first: it could start another child while the others are being killed.
    let _ = kill_process(postmaster, Signal::STOP);
    let children = children(postmaster);
    for process in children.iter().copied().chain([postmaster]) {
        let _ = kill_process(process, Signal::KILL);
    }
    children
}

/// The processes that work in `dir`, as all of a server's do in its data directory.
pub fn working_in(dir: &Path) -> Vec<Pid> {
    let all = fs::read_dir("/proc").expect("/proc");
    all.filter_map(Result::ok)
        .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == dir))
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// Sends `signal` to all of a server.
pub fn signal(postmaster: &Child, signal: Signal) {
    let pid = Pid::from_child(postmaster);
    kill_process(pid, signal).unwrap();
    for child in children(pid) {
        // One that has ended meanwhile needs no signal.
        let _ = kill_process(child, signal);
    }
}

fn children(of: Pid) -> Vec<Pid> {
    let all = fs::read_dir("/proc").expect("/proc");
    all.filter_map(|entry| Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?))
        .filter(|pid| parent(*pid) == Some(of))
        .collect()
}

/// The parent of a process; `None` of one that has ended, whether or not its own parent has noticed.
fn parent(pid: Pid) -> Option<Pid> {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // pid (name) state parent …, and the name may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let parent = Pid::from_raw(fields.next()?.parse().ok()?)?;
    (!["Z", "X"].contains(&state)).then_some(parent)
}
