//! Priorities of hash threads and of the session, where hashes and other work want the same core.

use std::fs;
use std::io::{self, ErrorKind};

/// Lowers the priority of this thread. A failure does no harm, but hashes then compete with other work.
pub(super) fn lower_thread(niceness: i32) {
    #[cfg(target_os = "linux")]
    {
        let thread = rustix::thread::gettid();
        if let Err(error) = rustix::process::setpriority_process(Some(thread), niceness) {
            tracing::warn!(%error, niceness, "a hash thread keeps its priority");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = niceness;
}

/// The session of this process, if it leads one, as under a service manager or in a container.
///
/// Linux shares the cores among sessions first (`sched_autogroup_enabled`), and a thread's niceness counts only within
/// its session. Every process of PostgreSQL is a session, so hash threads would count as much as PostgreSQL on the same
/// machine. So the priority of the whole session is lowered while hashes would take every core, and only then, because
/// the async threads are in it.
#[derive(Debug)]
pub(super) struct Session {
    /// Its niceness while hashes take every core.
    niceness: i32,
    is_lowered: bool,
    /// Whether this process leads it, and the system allows the change.
    is_ours: bool,
}

impl Session {
    const FILE: &str = "/proc/self/autogroup";

    /// The session of this process. Other systems have no such files, and no need.
    pub(super) fn new(niceness: i32) -> Self {
        let is_ours = fs::read_to_string("/proc/self/stat").is_ok_and(|stat| leads_session(&stat));
        Self {
            niceness,
            is_lowered: false,
            is_ours: is_ours && niceness > 0 && fs::exists(Self::FILE).unwrap_or(false),
        }
    }

    pub(super) fn is_lowered(&self) -> bool {
        self.is_lowered
    }

    /// Lowers the priority of the session.
    pub(super) fn lower(&mut self) {
        if self.is_ours && !self.is_lowered {
            self.is_lowered = self.set(self.niceness);
        }
    }

    /// Gives the session the usual priority again.
    pub(super) fn raise(&mut self) {
        if self.is_lowered {
            let is_raised = self.set(0);
            self.is_lowered = !is_raised && self.is_ours;
        }
    }

    /// Sets the niceness; returns whether that succeeded. The system allows ten changes a second; a refused one is
    /// tried again later.
    fn set(&mut self, niceness: i32) -> bool {
        let done = fs::write(Self::FILE, niceness.to_string());
        if let Err(error) = &done
            && !is_for_later(error)
        {
            self.is_ours = false;
            tracing::warn!(%error, niceness, "the session keeps its priority");
        }
        done.is_ok()
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Whether the process of this `/proc/PID/stat` leads its session: the first field is the sixth (proc(5)). In a PID namespace
/// whose sessions were begun outside, the sixth is 0; the second may hold anything, parentheses among it.
fn leads_session(stat: &str) -> bool {
    let pid = stat.split(' ').next();
    let session = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(3));
    pid.is_some() && pid == session
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stat_of_a_process_shows_whether_it_leads_its_session() {
        assert!(leads_session("27 (rollcall) S 1 27 27 0 -1 4194304 123"));
        assert!(leads_session("27 (a) b) (c) S 1 27 27 0 -1 4194304 123"));
        assert!(!leads_session("27 (rollcall) S 1 27 26 0 -1 4194304 123"));
        assert!(!leads_session("27 (27) 27 27 27) S 1 27 0 0 -1 4194304 123"), "begun outside of the PID namespace");
        assert!(!leads_session("27"));
        assert!(!leads_session(""));
    }
}
