//! Whether a connection is idle.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether anything happens on a connection.
#[derive(Debug, Default)]
pub struct Activity {
    has_moved: AtomicBool,
    is_answered: AtomicBool,
    is_blocked: AtomicBool,
}

impl Activity {
    /// A request is under way. Its bytes may have been read with those of the one before.
    pub fn asked(&self) {
        self.is_answered.store(false, Ordering::Relaxed);
    }

    /// The request whose bytes came last has been read to its end, and has its answer.
    pub fn answered(&self) {
        self.is_answered.store(true, Ordering::Relaxed);
    }

    /// Whether the connection is idle: no request is under way, and no byte has moved since the last call.
    pub fn is_idle(&self) -> bool {
        let has_moved = self.has_moved.swap(false, Ordering::Relaxed);
        !has_moved && self.is_answered.load(Ordering::Relaxed) && !self.is_blocked.load(Ordering::Relaxed)
    }

    pub(super) fn read(&self) {
        self.has_moved.store(true, Ordering::Relaxed);
        self.is_answered.store(false, Ordering::Relaxed);
    }

    pub(super) fn wrote(&self, is_blocked: bool) {
        self.has_moved.store(true, Ordering::Relaxed);
        self.is_blocked.store(is_blocked, Ordering::Relaxed);
    }

    pub(super) fn flushed(&self, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Ordering::Relaxed);
    }
}
