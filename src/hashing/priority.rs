//! Who goes first where hashes and other work want the same core.

/// Lowers the priority of this thread. Failing is no harm: the hashes only come first where they should come second.
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

/// Lowers the priority of this process's session, where the session is the service's own, as under a service manager or in
/// a container. Linux shares the cores among sessions first (`sched_autogroup_enabled`), and a thread's niceness counts
/// within its session only: to PostgreSQL on the same machine, whose every process is a session, the hash threads would be
/// of the same importance as itself.
pub(super) fn lower_session(niceness: i32) {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpid, getsid};
        let leads = getsid(None).is_ok_and(|session| session == getpid());
        // Without autogroups there is no such file, and no need.
        if leads && let Err(error) = std::fs::write("/proc/self/autogroup", niceness.to_string()) {
            tracing::debug!(%error, niceness, "the session keeps its priority");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = niceness;
}
