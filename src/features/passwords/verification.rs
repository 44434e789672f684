//! A password check whose caller may leave: that cancels it while it waits, not once it has begun.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::handle::{Class, HasherError, HasherHandle, Unusable, Verdict};
use super::types::Password;
use crate::hashing::mcf::Mcf;

/// Whether a hasher has begun the computation: from then on it is completed.
#[derive(Clone, Default)]
pub(super) struct Begun(Arc<AtomicBool>);

impl Begun {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A password check that is not awaited yet.
pub struct Verification {
    handle: HasherHandle,
    password: Password,
    stored: Result<Option<Mcf>, Unusable>,
    class: Class,
}

impl std::fmt::Debug for Verification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verification")
    }
}

impl Verification {
    pub(super) fn new(
        handle: HasherHandle,
        password: Password,
        stored: Result<Option<Mcf>, Unusable>,
        class: Class,
    ) -> Self {
        Self { handle, password, stored, class }
    }

    /// Awaits the verdict. `None` if `left` completes before the check has begun; after that, nothing cancels it.
    ///
    /// # Errors
    /// Any [`HasherError`].
    pub async fn verdict_unless<T>(self, left: impl Future<Output = T>) -> Option<Result<Verdict, HasherError>> {
        let begun = Begun::default();
        let Self { handle, password, stored, class } = self;
        unless(left, &begun, handle.compare(password, stored, class, begun.clone())).await
    }
}

async fn unless<T, V>(left: impl Future<Output = T>, begun: &Begun, check: impl Future<Output = V>) -> Option<V> {
    let mut check = pin!(check);
    tokio::select! {
        verdict = &mut check => return Some(verdict),
        _ = left => {}
    }
    // If it begins just now, the caller that left misses the answer. Dropped before it begins, it is never computed.
    if begun.is_set() { Some(check.await) } else { None }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn one_who_leaves_calls_a_check_off_only_before_it_has_begun() {
        let waiting = Begun::default();
        assert_eq!(unless(async {}, &waiting, pending::<()>()).await, None);
        let begun = Begun::default();
        begun.set();
        let (go, gate) = oneshot::channel();
        let left = async { go.send(()).unwrap() };
        assert_eq!(unless(left, &begun, async { gate.await.is_ok() }).await, Some(true));
    }
}
