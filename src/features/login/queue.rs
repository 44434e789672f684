//! Ends that gather until one statement counts several of them.

use std::collections::VecDeque;

/// Requests of one kind, each a key and where its answer goes, that wait for a statement.
pub(super) struct Queue<K, R> {
    waiting: VecDeque<(K, R)>,
}

impl<K, R> Default for Queue<K, R> {
    fn default() -> Self {
        Self { waiting: VecDeque::new() }
    }
}

/// Requests of one kind that one statement answers.
pub(super) type Batch<K, R> = Vec<(K, R)>;

impl<K, R> Queue<K, R> {
    pub(super) fn push(&mut self, key: K, reply: R) {
        self.waiting.push_back((key, reply));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The first `max` requests that `fits` in one statement with those before; the others keep their order.
    pub(super) fn take_fitting(&mut self, max: usize, mut fits: impl FnMut(&K) -> bool) -> Batch<K, R> {
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
