//! The running parts, in the order in which they were started, and the end of each.

use std::future::Future;
use std::pin::Pin;

use ractor::ActorCell;
use tokio::task::JoinHandle;

/// Ends a part gracefully.
type Stop = Box<dyn FnOnce() -> Ending + Send + Sync>;
type Ending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The running parts. They end in the reverse order: on [`Self::stop`] gracefully, on drop at once.
#[derive(Default)]
pub(super) struct Running(Vec<Stop>);

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Running({})", self.0.len())
    }
}

impl Running {
    /// Adds a started part. `stop` owns it, and its drop ends it at once.
    pub(super) fn add<F>(&mut self, stop: impl FnOnce() -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.push(Box::new(move || Box::pin(stop())));
    }

    /// Adds a task that has nothing to finish.
    pub(super) fn add_task(&mut self, task: JoinHandle<()>) {
        let task = Task(task);
        self.add(|| async move { drop(task) });
    }

    /// Adds all actors.
    pub(super) fn add_supervisor(&mut self, supervisor: ActorCell) {
        let supervisor = Supervisor(supervisor);
        self.add(|| async move { drop(supervisor) });
    }

    /// Ends all parts.
    pub(super) async fn stop(mut self) {
        while let Some(stop) = self.0.pop() {
            stop().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        while let Some(stop) = self.0.pop() {
            drop(stop);
        }
    }
}

/// A task that ends when this is dropped.
pub(super) struct Task(pub(super) JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Supervisor(ActorCell);

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.0.stop(None);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    struct Part(&'static str, Arc<Mutex<Vec<&'static str>>>);

    impl Drop for Part {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    fn running() -> (Running, Arc<Mutex<Vec<&'static str>>>) {
        let (mut running, ended) = (Running::default(), Arc::default());
        for name in ["database", "actors", "listener"] {
            let part = Part(name, Arc::clone(&ended));
            running.add(|| async move { drop(part) });
        }
        (running, ended)
    }

    #[tokio::test]
    async fn parts_end_in_the_reverse_of_their_start() {
        let (running, ended) = running();
        running.stop().await;
        assert_eq!(*ended.lock().unwrap(), ["listener", "actors", "database"]);
    }

    #[test]
    fn so_they_do_where_nobody_stops_them() {
        let (running, ended) = running();
        drop(running);
        assert_eq!(*ended.lock().unwrap(), ["listener", "actors", "database"]);
    }
}
