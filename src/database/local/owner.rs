//! The user of the server where the service runs as root, which PostgreSQL refuses.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;

use super::binaries::tool;

/// An unprivileged user.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Owner {
    /// `postgres`, else `nobody`, where this process is root; `None` where it isn't.
    pub(super) fn of_server() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        // `id` asks all of the system's sources of users, and not only /etc/passwd.
        ["postgres", "nobody"].into_iter().find_map(|name| Some(Self { uid: id("-u", name)?, gid: id("-g", name)? }))
    }

    /// Checks that this user can pass through `dir`, which may be in a home directory that is closed to others.
    pub(super) fn check_reach(&self, dir: &Path) -> io::Result<()> {
        let seen = tool("test").arg("-x").arg(dir).uid(self.uid).gid(self.gid).status()?;
        if seen.success() {
            Ok(())
        } else {
            let words = format!("the unprivileged user that PostgreSQL runs as (id {}) cannot reach it", self.uid);
            Err(io::Error::new(io::ErrorKind::PermissionDenied, words))
        }
    }
}

fn id(which: &str, user: &str) -> Option<u32> {
    let output = tool("id").args([which, user]).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
