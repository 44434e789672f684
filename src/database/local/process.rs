//! A process handle, so that a signal never reaches another process by mistake.
//!
//! Process ids are used again. Where the system has handles for processes (Linux), a handle is taken first and the
//! process is checked then, so that a signal reaches the process that was checked.

use std::io;
use std::path::Path;
use std::process::Child;

use rustix::process::{Pid, Signal};

/// A process.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    #[cfg(target_os = "linux")]
    handle: std::os::fd::OwnedFd,
}

impl Process {
    /// The process of this number, if there is one.
    #[cfg(target_os = "linux")]
    pub(super) fn open(pid: Pid) -> Option<Self> {
        let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()?;
        Some(Self { pid, handle })
    }

    /// The process of this number, if there is one.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn open(pid: Pid) -> Option<Self> {
        // A process that may not be signalled is alive, too.
        (rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)).then_some(Self { pid })
    }

    /// The handle of a child that was not waited for yet.
    pub(super) fn of_child(child: &Child) -> io::Result<Self> {
        Self::open(Pid::from_child(child)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it has not ended.
    #[cfg(target_os = "linux")]
    pub(super) fn is_alive(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        // A handle can be read once its process has ended.
        let mut polled = [PollFd::new(&self.handle, PollFlags::IN)];
        !matches!(poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..))
    }

    /// Whether it has not ended.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn is_alive(&self) -> bool {
        rustix::process::test_kill_process(self.pid) != Err(rustix::io::Errno::SRCH)
    }

    /// Sends a signal; does nothing to a process that has ended.
    pub(super) fn signal(&self, signal: Signal) {
        #[cfg(target_os = "linux")]
        let _ = rustix::process::pidfd_send_signal(&self.handle, signal);
        #[cfg(not(target_os = "linux"))]
        let _ = rustix::process::kill_process(self.pid, signal);
    }

    /// Whether it is a PostgreSQL server that works in `data`, run by the user that owns it.
    #[cfg(target_os = "linux")]
    pub(super) fn serves(&self, data: &Path) -> bool {
        use std::fs;
        use std::os::unix::fs::MetadataExt;
        let about = format!("/proc/{}", self.pid.as_raw_nonzero());
        let is_postgres = fs::read_to_string(format!("{about}/comm")).is_ok_and(|name| name.trim_end() == "postgres");
        let works_here = fs::read_link(format!("{about}/cwd")).is_ok_and(|dir| dir == data);
        let owners = fs::metadata(&about).and_then(|process| Ok((process.uid(), fs::metadata(data)?.uid())));
        is_postgres && works_here && owners.is_ok_and(|(process, data)| process == data) && self.is_alive()
    }

    /// Whether it may be a PostgreSQL server that works in `data`: this system only shows whether a process lives.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn serves(&self, _: &Path) -> bool {
        self.is_alive()
    }
}
