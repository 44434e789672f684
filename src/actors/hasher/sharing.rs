//! Concurrent identical logins share one computation: a client that sends a login twice, or retries while the first is still
//! under way, costs one hash. Nothing outlives the computation, so this is no cache.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::hmac;
use tokio::sync::watch;

use super::{HasherError, Verdict};
use crate::domain::password::Password;
use crate::telemetry::Counter;

/// What tells two logins apart: an HMAC under a key that no other process has, of address, stored hash and password.
pub(super) type Tag = [u8; 32];
type Answer = Option<Result<Verdict, HasherError>>;

/// The computations under way.
pub(super) struct Sharing {
    key: hmac::Key,
    under_way: Mutex<HashMap<Tag, Arc<watch::Sender<Answer>>>>,
    shared: Counter,
}

impl std::fmt::Debug for Sharing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sharing")
    }
}

impl Sharing {
    /// Counts in `shared` the logins that share another's computation.
    pub(super) fn new(key: &[u8; 32], shared: Counter) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), under_way: Mutex::default(), shared }
    }

    pub(super) fn tag(&self, email: &str, stored: &str, password: &Password) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [email.as_bytes(), stored.as_bytes(), password.as_bytes()] {
            // The length first, so that no two triples read the same.
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let mut tag = Tag::default();
        for (byte, signed) in tag.iter_mut().zip(context.sign().as_ref()) {
            *byte = *signed;
        }
        tag
    }

    /// The answer of the computation under way for `tag`, or else of `computation`, which goes on for as long as anybody
    /// waits for it.
    pub(super) async fn share<F>(self: &Arc<Self>, tag: Tag, computation: F) -> Result<Verdict, HasherError>
    where
        F: Future<Output = Result<Verdict, HasherError>> + Send + 'static,
    {
        let mut answer = self.join(tag, computation);
        match answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.unwrap_or(Err(HasherError::Failed)),
            // The computation panicked.
            Err(_) => Err(HasherError::Failed),
        }
    }

    fn join<F>(self: &Arc<Self>, tag: Tag, computation: F) -> watch::Receiver<Answer>
    where
        F: Future<Output = Result<Verdict, HasherError>> + Send + 'static,
    {
        let mut under_way = self.lock();
        if let Some(sender) = under_way.get(&tag) {
            self.shared.inc();
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(None);
        let sender = Arc::new(sender);
        under_way.insert(tag, Arc::clone(&sender));
        // A runtime that is shutting down drops the task here and now, and the entry's drop takes the lock.
        drop(under_way);
        let entry = Entry { sharing: Arc::clone(self), tag, sender };
        tokio::spawn(entry.lead(computation));
        receiver
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Tag, Arc<watch::Sender<Answer>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A computation's place in the map, which it leaves however it ends.
struct Entry {
    sharing: Arc<Sharing>,
    tag: Tag,
    sender: Arc<watch::Sender<Answer>>,
}

impl Entry {
    async fn lead(self, computation: impl Future<Output = Result<Verdict, HasherError>>) {
        let sender = Arc::clone(&self.sender);
        let mut computation = pin!(computation);
        let answer = loop {
            tokio::select! {
                answer = &mut computation => break answer,
                () = sender.closed() => {
                    // Somebody may have joined meanwhile; from here on, the lock keeps others from it.
                    let mut under_way = self.sharing.lock();
                    if sender.receiver_count() == 0 {
                        under_way.remove(&self.tag);
                        drop(under_way);
                        return;
                    }
                }
            }
        };
        // Out of the map first: who comes now starts a computation of their own.
        drop(self);
        let _ = sender.send(Some(answer));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut under_way = self.sharing.lock();
        // Its successor for the same login is not its own to remove.
        if under_way.get(&self.tag).is_some_and(|sender| Arc::ptr_eq(sender, &self.sender)) {
            under_way.remove(&self.tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;
    use zeroize::Zeroizing;

    use super::*;

    fn sharing() -> Arc<Sharing> {
        Arc::new(Sharing::new(&[1; 32], Counter::new("shared", "shared").unwrap()))
    }

    fn tag(sharing: &Sharing, email: &str, stored: &str, password: &str) -> Tag {
        sharing.tag(email, stored, &Password::offered(Zeroizing::new(password.to_owned())))
    }

    #[tokio::test]
    async fn concurrent_identical_logins_share_one_computation_and_later_ones_do_not() {
        let sharing = sharing();
        let computed = Arc::new(AtomicUsize::new(0));
        let tag = tag(&sharing, "a@b.cc", "hash", "password");
        let (go, gate) = oneshot::channel();
        let count = Arc::clone(&computed);
        let mut answers = vec![sharing.join(tag, async move {
            let _ = gate.await;
            count.fetch_add(1, Ordering::SeqCst);
            Ok(Verdict::Match { outdated: false })
        })];
        answers.extend((0..9).map(|_| sharing.join(tag, async { unreachable!("the first computes for all") })));
        go.send(()).unwrap();
        for mut answer in answers {
            assert_eq!(*answer.wait_for(Option::is_some).await.unwrap(), Some(Ok(Verdict::Match { outdated: false })));
        }
        assert_eq!((computed.load(Ordering::SeqCst), sharing.shared.get()), (1, 9));
        assert_eq!(sharing.share(tag, async { Ok(Verdict::Mismatch) }).await, Ok(Verdict::Mismatch));
        assert!(sharing.lock().is_empty());
    }

    #[test]
    fn logins_that_differ_in_anything_have_different_tags() {
        let sharing = sharing();
        let tags = [("a", "b", "c"), ("ab", "", "c"), ("", "ab", "c"), ("a", "bc", ""), ("a", "b", "d")]
            .map(|(email, stored, password)| tag(&sharing, email, stored, password));
        let distinct: std::collections::HashSet<_> = tags.iter().collect();
        assert_eq!(distinct.len(), tags.len());
        let other = Sharing::new(&[2; 32], Counter::new("shared", "shared").unwrap());
        assert_ne!(tag(&other, "a", "b", "c"), tags[0]);
    }

    #[tokio::test]
    async fn a_computation_goes_on_while_anybody_waits_and_stops_when_nobody_does() {
        struct Stopped(Option<oneshot::Sender<()>>);
        impl Drop for Stopped {
            fn drop(&mut self) {
                let _ = self.0.take().unwrap().send(());
            }
        }
        let sharing = sharing();
        let tag = tag(&sharing, "a@b.cc", "hash", "password");
        let (tell, mut stopped) = oneshot::channel();
        let guard = Stopped(Some(tell));
        let first = sharing.join(tag, async move {
            let _guard = guard;
            pending().await
        });
        let second = sharing.join(tag, pending());
        drop(first);
        tokio::task::yield_now().await;
        assert!(stopped.try_recv().is_err(), "the second still waits");
        drop(second);
        stopped.await.unwrap();
        assert!(sharing.lock().is_empty());
    }

    #[tokio::test]
    async fn a_computation_that_panics_is_an_error_to_all() {
        let sharing = sharing();
        let tag = tag(&sharing, "a@b.cc", "hash", "password");
        assert_eq!(sharing.share(tag, async { panic!("as the test asked") }).await, Err(HasherError::Failed));
        assert!(sharing.lock().is_empty());
    }
}
