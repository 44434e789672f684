//! Threads that attackers have to themselves.

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// A runtime for those who attack.
pub struct Attackers(Option<Runtime>);

impl Attackers {
    /// Where they come last, its threads have what cores nobody else wants. Real attackers compute on machines of their own:
    /// what these take from the service should be what they make it do. Beside other tests they would hardly get to act.
    pub fn new(come_last: bool) -> Self {
        let mut builder = Builder::new_multi_thread();
        if come_last {
            builder.on_thread_start(idle);
        }
        Self(Some(builder.worker_threads(2).enable_all().build().unwrap()))
    }

    /// Lets these act, until the set is dropped.
    pub fn act<F>(&self, actions: impl Iterator<Item = F>) -> JoinSet<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let mut acting = JoinSet::new();
        for action in actions {
            acting.spawn_on(action, self.0.as_ref().unwrap().handle());
        }
        acting
    }
}

/// Where a test ends nothing may wait for threads.
impl Drop for Attackers {
    fn drop(&mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

/// Gives the thread Linux's policy `SCHED_IDLE`. The highest niceness would not do: a thread that computes would still keep
/// one that wakes on its core waiting until the next tick, 4 ms on many systems.
#[cfg(target_os = "linux")]
fn idle() {
    use std::process::Command;

    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let done = Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status().unwrap();
    assert!(done.success(), "chrt: {done}");
}

#[cfg(not(target_os = "linux"))]
fn idle() {}
