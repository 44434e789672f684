//! Permits for statements that run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Permits for statements that run. An actor is notified that one is free again where it had none left, and only then: otherwise
/// each answer would wake two tasks, its caller's and the actor's, and for two a second thread is woken.
pub(super) struct Permits(Arc<Shared>);

struct Shared {
    free: AtomicUsize,
    /// Somebody found no permit, and has to be notified of the next.
    wanted: AtomicBool,
    tell: Box<dyn Fn() + Send + Sync>,
}

/// A statement's permit, given back however its task ends, by a panic too.
pub(super) struct Permit(Arc<Shared>);

impl Permits {
    /// So many permits, and how to notify of one that was missed.
    pub(super) fn new(count: usize, tell: impl Fn() + Send + Sync + 'static) -> Self {
        let (free, wanted) = (AtomicUsize::new(count), AtomicBool::new(false));
        Self(Arc::new(Shared { free, wanted, tell: Box::new(tell) }))
    }

    /// A permit, or a notification as soon as there is one.
    pub(super) fn take(&self) -> Option<Permit> {
        self.try_take().or_else(|| {
            self.0.wanted.store(true, Ordering::SeqCst);
            // One may have been given back since, by somebody who did not see that it is wanted.
            self.try_take()
        })
    }

    fn try_take(&self) -> Option<Permit> {
        let less = |free: usize| free.checked_sub(1);
        self.0.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).ok()?;
        Some(Permit(Arc::clone(&self.0)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::SeqCst);
        if self.0.wanted.swap(false, Ordering::SeqCst) {
            (self.0.tell)();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_that_was_missed_is_notified_of_once() {
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        let permits = Permits::new(2, move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let told = || told.load(Ordering::SeqCst);
        drop(permits.take());
        assert_eq!(told(), 0, "nobody has missed it");
        let (first, second) = (permits.take().unwrap(), permits.take().unwrap());
        assert!(permits.take().is_none() && permits.take().is_none());
        drop(first);
        assert_eq!(told(), 1);
        drop(second);
        assert_eq!(told(), 1, "it had been told");
    }

    #[test]
    fn no_permit_is_lost_between_threads() {
        let (tell, told) = std::sync::mpsc::channel();
        let permits = Permits::new(1, move || tell.send(()).unwrap());
        for _ in 0..10_000 {
            let permit = permits.take().unwrap();
            let other = std::thread::scope(|scope| {
                scope.spawn(|| drop(permit));
                permits.take()
            });
            if other.is_none() {
                told.recv().unwrap();
            }
            // Word of one that was found in the second look.
            while told.try_recv().is_ok() {}
        }
    }
}
