//! Concurrent identical logins share one computation: a client that sends a login twice, or retries while the first is still
//! under way, costs one hash. Nothing outlives the computation, so this is no cache.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::hmac;
use tokio::sync::watch;

use super::{HasherError, Verdict};
use crate::domain::password::Password;
use crate::telemetry::Counter;

/// What tells two logins apart: an HMAC under a key that no other process has, of address, stored hash and password.
pub(super) type Tag = [u8; 32];
type Answer = Option<Result<Verdict, HasherError>>;

/// Whether a computation has got a lane: from then on it is not given up.
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

/// A password check that waits or is under way. Dropped before it has begun, it is never made, unless others share it.
pub struct Verification {
    answer: watch::Receiver<Answer>,
    begun: Begun,
}

impl std::fmt::Debug for Verification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verification")
    }
}

impl Verification {
    /// What came of it.
    ///
    /// # Errors
    /// Any [`HasherError`].
    pub async fn verdict(mut self) -> Result<Verdict, HasherError> {
        self.answer().await
    }

    /// What came of it, or nothing if `left` came before it began. Once it has begun, nothing can call it off.
    ///
    /// # Errors
    /// Any [`HasherError`].
    pub async fn verdict_unless<T>(mut self, left: impl Future<Output = T>) -> Option<Result<Verdict, HasherError>> {
        tokio::select! {
            verdict = self.answer() => return Some(verdict),
            _ = left => {}
        }
        // Where it begins just now, its answer is lost on everybody, on the one who left too.
        if self.begun.is_set() { Some(self.answer().await) } else { None }
    }

    async fn answer(&mut self) -> Result<Verdict, HasherError> {
        match self.answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.unwrap_or(Err(HasherError::Failed)),
            // The computation panicked.
            Err(_) => Err(HasherError::Failed),
        }
    }
}

type UnderWay = (Arc<watch::Sender<Answer>>, Begun);

/// The computations under way.
pub(super) struct Sharing {
    key: hmac::Key,
    under_way: Mutex<HashMap<Tag, UnderWay>>,
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

    /// The computation under way for `tag`, or else `computation`, which sets `begun` when it begins, and goes on for as long
    /// as anybody waits for it.
    pub(super) fn share<F>(self: &Arc<Self>, tag: Tag, begun: Begun, computation: F) -> Verification
    where
        F: Future<Output = Result<Verdict, HasherError>> + Send + 'static,
    {
        let mut under_way = self.lock();
        if let Some((sender, begun)) = under_way.get(&tag) {
            self.shared.inc();
            return Verification { answer: sender.subscribe(), begun: begun.clone() };
        }
        let (sender, answer) = watch::channel(None);
        let sender = Arc::new(sender);
        under_way.insert(tag, (Arc::clone(&sender), begun.clone()));
        // A runtime that is shutting down drops the task here and now, and the entry's drop takes the lock.
        drop(under_way);
        let entry = Entry { sharing: Arc::clone(self), tag, sender };
        tokio::spawn(entry.lead(computation));
        Verification { answer, begun }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Tag, UnderWay>> {
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
        if under_way.get(&self.tag).is_some_and(|(sender, _)| Arc::ptr_eq(sender, &self.sender)) {
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
        let mut logins = vec![sharing.share(tag, Begun::default(), async move {
            let _ = gate.await;
            count.fetch_add(1, Ordering::SeqCst);
            Ok(Verdict::Match { outdated: false })
        })];
        let never = || async { unreachable!("the first computes for all") };
        logins.extend((0..9).map(|_| sharing.share(tag, Begun::default(), never())));
        go.send(()).unwrap();
        for login in logins {
            assert_eq!(login.verdict().await, Ok(Verdict::Match { outdated: false }));
        }
        assert_eq!((computed.load(Ordering::SeqCst), sharing.shared.get()), (1, 9));
        let later = sharing.share(tag, Begun::default(), async { Ok(Verdict::Mismatch) });
        assert_eq!(later.verdict().await, Ok(Verdict::Mismatch));
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
        let first = sharing.share(tag, Begun::default(), async move {
            let _guard = guard;
            pending().await
        });
        let second = sharing.share(tag, Begun::default(), pending());
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
        let login = sharing.share(tag, Begun::default(), async { panic!("as the test asked") });
        assert_eq!(login.verdict().await, Err(HasherError::Failed));
        assert!(sharing.lock().is_empty());
    }

    #[tokio::test]
    async fn one_who_leaves_calls_a_computation_off_only_before_it_has_begun() {
        let sharing = sharing();
        let other = tag(&sharing, "a@b.cc", "hash", "another");
        let waiting = sharing.share(other, Begun::default(), pending());
        assert_eq!(waiting.verdict_unless(async {}).await, None);
        let tag = tag(&sharing, "a@b.cc", "hash", "password");
        let begun = Begun::default();
        let (go, gate) = oneshot::channel();
        let computation = async move {
            let _ = gate.await;
            Ok(Verdict::Mismatch)
        };
        let (first, begins) = (sharing.share(tag, begun.clone(), computation), begun);
        // One that shares it is as bound to it as the first.
        let second = sharing.share(tag, Begun::default(), pending());
        begins.set();
        let left = async { go.send(()).unwrap() };
        let (first, second) = tokio::join!(first.verdict_unless(left), second.verdict_unless(async {}));
        assert_eq!((first, second), (Some(Ok(Verdict::Mismatch)), Some(Ok(Verdict::Mismatch))));
    }
}
