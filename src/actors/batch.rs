//! Requests that gather until one statement answers several of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Requests of one kind, each a key and where its answer goes, that wait for a statement.
pub(crate) struct Queue<K, R> {
    waiting: VecDeque<(K, R)>,
}

impl<K, R> Default for Queue<K, R> {
    fn default() -> Self {
        Self { waiting: VecDeque::new() }
    }
}

/// Requests of one kind that one statement answers.
pub(crate) type Batch<K, R> = Vec<(K, R)>;

impl<K, R> Queue<K, R> {
    pub(crate) fn push(&mut self, key: K, reply: R) {
        self.waiting.push_back((key, reply));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The first `max` requests.
    pub(crate) fn take(&mut self, max: usize) -> Batch<K, R> {
        let count = self.waiting.len().min(max);
        self.waiting.drain(..count).collect()
    }

    /// The first `max` requests that `fits` in one statement with those before; the others keep their order.
    pub(crate) fn take_fitting(&mut self, max: usize, mut fits: impl FnMut(&K) -> bool) -> Batch<K, R> {
        let mut batch = Vec::new();
        for (key, reply) in std::mem::take(&mut self.waiting) {
            if batch.len() < max && fits(&key) {
                batch.push((key, reply));
            } else {
                self.waiting.push_back((key, reply));
            }
        }
        batch
    }
}

/// Places for statements under way. An actor is told that one is free again where it had none left, and only then: otherwise
/// each answer would wake two tasks, its caller's and the actor's, and for two a second thread is woken.
pub(crate) struct Places(Arc<Shared>);

struct Shared {
    free: AtomicUsize,
    /// Somebody found no place, and has to be told of the next.
    wanted: AtomicBool,
    tell: Box<dyn Fn() + Send + Sync>,
}

/// A statement's place, given back however its task ends, by a panic too.
pub(crate) struct Place(Arc<Shared>);

impl Places {
    /// So many places, and how to tell of one that was missed.
    pub(crate) fn new(count: usize, tell: impl Fn() + Send + Sync + 'static) -> Self {
        let (free, wanted) = (AtomicUsize::new(count), AtomicBool::new(false));
        Self(Arc::new(Shared { free, wanted, tell: Box::new(tell) }))
    }

    /// A place, or word as soon as there is one.
    pub(crate) fn take(&self) -> Option<Place> {
        self.try_take().or_else(|| {
            self.0.wanted.store(true, Ordering::SeqCst);
            // One may have been given back since, by somebody who did not see that it is wanted.
            self.try_take()
        })
    }

    fn try_take(&self) -> Option<Place> {
        let less = |free: usize| free.checked_sub(1);
        self.0.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).ok()?;
        Some(Place(Arc::clone(&self.0)))
    }
}

impl Drop for Place {
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
    fn a_place_that_was_missed_is_told_of_once() {
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        let places = Places::new(2, move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let told = || told.load(Ordering::SeqCst);
        drop(places.take());
        assert_eq!(told(), 0, "nobody has missed it");
        let (first, second) = (places.take().unwrap(), places.take().unwrap());
        assert!(places.take().is_none() && places.take().is_none());
        drop(first);
        assert_eq!(told(), 1);
        drop(second);
        assert_eq!(told(), 1, "it had been told");
    }

    #[test]
    fn no_place_is_lost_between_threads() {
        let (tell, told) = std::sync::mpsc::channel();
        let places = Places::new(1, move || tell.send(()).unwrap());
        for _ in 0..10_000 {
            let place = places.take().unwrap();
            let other = std::thread::scope(|scope| {
                scope.spawn(|| drop(place));
                places.take()
            });
            if other.is_none() {
                told.recv().unwrap();
            }
            // Word of one that was found in the second look.
            while told.try_recv().is_ok() {}
        }
    }
}
