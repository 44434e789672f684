//! Permits for statements that run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Permits for statements that run. The actor is notified of a free permit only after it failed to get one: otherwise
/// each answer would wake two tasks, its caller's and the actor's, and the second wakes another thread.
pub(super) struct Permits(Arc<Shared>);

struct Shared {
    count: Mutex<Count>,
    notify: Box<dyn Fn() + Send + Sync>,
}

struct Count {
    free: usize,
    /// Whether the actor found no permit, and has to be notified of the next one.
    is_wanted: bool,
}

/// A statement's permit, given back however its task ends, by a panic too.
pub(super) struct Permit(Arc<Shared>);

impl Permits {
    /// `count` permits; `notify` is called when a permit is free after one was missed.
    pub(super) fn new(count: usize, notify: impl Fn() + Send + Sync + 'static) -> Self {
        let count = Mutex::new(Count { free: count, is_wanted: false });
        Self(Arc::new(Shared { count, notify: Box::new(notify) }))
    }

    /// Takes a permit; without one, the actor is notified as soon as there is one.
    pub(super) fn take(&self) -> Option<Permit> {
        let mut count = self.0.lock();
        if let Some(less) = count.free.checked_sub(1) {
            count.free = less;
            return Some(Permit(Arc::clone(&self.0)));
        }
        count.is_wanted = true;
        None
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut count = self.0.lock();
        count.free += 1;
        let was_wanted = std::mem::take(&mut count.is_wanted);
        drop(count);
        if was_wanted {
            (self.0.notify)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_permit_that_was_missed_is_notified_of_once() {
        let notified = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&notified);
        let permits = Permits::new(2, move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let notified = || notified.load(Ordering::SeqCst);
        drop(permits.take());
        assert_eq!(notified(), 0, "nobody has missed it");
        let (first, second) = (permits.take().unwrap(), permits.take().unwrap());
        assert!(permits.take().is_none() && permits.take().is_none());
        drop(first);
        assert_eq!(notified(), 1);
        drop(second);
        assert_eq!(notified(), 1, "it was not missed");
    }
}
