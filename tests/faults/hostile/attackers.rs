//! Threads that attackers have to themselves.

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// The least share of a core that Linux gives.
const NICENESS: i32 = 19;

/// A runtime whose threads, and the programs that they start, come after all others. Real attackers have machines of their
/// own: what these take from the service should be what they make it do, not the cores that they compute on themselves.
pub struct Attackers(Option<Runtime>);

impl Attackers {
    pub fn new() -> Self {
        let lower = || {
            #[cfg(target_os = "linux")]
            rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS).unwrap();
        };
        Self(Some(Builder::new_multi_thread().worker_threads(2).on_thread_start(lower).enable_all().build().unwrap()))
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
