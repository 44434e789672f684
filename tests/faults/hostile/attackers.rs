//! Threads that attackers have to themselves.

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::cores;

/// A runtime for those who attack.
pub struct Attackers(Option<Runtime>);

impl Attackers {
    /// Where they are `apart`, they act on a core where nobody else does.
    pub fn new(apart: bool) -> Self {
        let mut builder = Builder::new_multi_thread();
        if apart {
            builder.on_thread_start(cores::attack);
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
