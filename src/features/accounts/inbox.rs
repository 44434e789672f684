//! Lookups on their way to the actor.
//!
//! A message costs its sender and the actor more than the lookup that it brings. So lookups gather where both see them, and
//! only the first of those that gather has the actor told. None has a timer of its own either: whoever holds it tells its
//! caller when its time is over, the inbox when it is swept, the batch while its statement runs.

use std::mem;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::sleep_until;
use uuid::Uuid;

use super::handle::UserError;
use crate::actors::CallError;
use crate::features::accounts::types::email::Email;
use crate::features::accounts::types::{Account, User};

/// How often lookups are looked through for those whose time is over.
pub(super) const SWEEP: Duration = Duration::from_millis(250);

/// All lookups that wait.
#[derive(Debug)]
pub(super) struct Lookups {
    pub(super) ids: Inbox<Uuid, User>,
    pub(super) emails: Inbox<Email, Account>,
}

impl Lookups {
    /// None yet; their callers wait for `patience` at the most.
    pub(super) fn new(patience: Duration) -> Self {
        Self { ids: Inbox::new(patience), emails: Inbox::new(patience) }
    }

    /// Tells those whose time is over.
    pub(super) fn sweep(&self) {
        self.ids.sweep();
        self.emails.sweep();
    }
}

/// Lookups of one kind that wait for a statement: those that came first in front.
#[derive(Debug)]
pub(super) struct Inbox<K, T> {
    waiting: Mutex<Vec<Lookup<K, T>>>,
    patience: Duration,
}

/// One lookup.
#[derive(Debug)]
struct Lookup<K, T> {
    key: K,
    caller: oneshot::Sender<Result<Option<T>, UserError>>,
    until: Instant,
}

/// Lookups that one statement answers.
pub(super) struct Batch<K, T>(Vec<Lookup<K, T>>);

impl<K, T> Inbox<K, T> {
    /// An empty one, whose callers wait for `patience` at the most.
    fn new(patience: Duration) -> Self {
        Self { waiting: Mutex::default(), patience }
    }

    /// Waits for the value of `key`. `tell` is called by the first of those that gather.
    pub(super) async fn find(&self, key: K, tell: impl FnOnce()) -> Result<Option<T>, UserError> {
        let (caller, answer) = oneshot::channel();
        let lookup = Lookup { key, caller, until: Instant::now() + self.patience };
        let is_first = {
            let mut waiting = self.lock();
            waiting.push(lookup);
            waiting.len() == 1
        };
        if is_first {
            tell();
        }
        answer.await.unwrap_or(Err(UserError::Call(CallError::Gone)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// The first `max` lookups.
    pub(super) fn take(&self, max: usize) -> Batch<K, T> {
        let mut waiting = self.lock();
        let rest = if waiting.len() > max { waiting.split_off(max) } else { Vec::with_capacity(waiting.len()) };
        Batch(mem::replace(&mut *waiting, rest))
    }

    fn sweep(&self) {
        refuse_late(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Lookup<K, T>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord, T: Clone> Batch<K, T> {
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|lookup| &lookup.key)
    }

    /// Waits for `statement`, and tells those whose time is over meanwhile.
    pub(super) async fn wait<R>(&mut self, statement: impl Future<Output = R>) -> R {
        let mut statement = pin!(statement);
        while let Some(first) = self.0.first() {
            tokio::select! {
                biased;
                done = &mut statement => return done,
                () = sleep_until(first.until.into()) => refuse_late(&mut self.0),
            }
        }
        statement.await
    }

    /// Gives each caller the value of its key, as `key` has it, and to the others the answer of `rest`.
    pub(super) fn answer(mut self, mut found: Vec<T>, key: impl Fn(&T) -> &K, rest: Result<(), UserError>) {
        self.0.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        found.sort_unstable_by(|a, b| key(a).cmp(key(b)));
        let mut found = found.into_iter().peekable();
        let mut lookups = self.0.into_iter().peekable();
        while let Some(lookup) = lookups.next() {
            // Nobody has asked for those; the database would have to be at fault.
            while found.next_if(|value| *key(value) < lookup.key).is_some() {}
            let is_last = lookups.peek().is_none_or(|next| next.key != lookup.key);
            let value = if is_last {
                found.next_if(|value| *key(value) == lookup.key)
            } else {
                found.peek().filter(|value| *key(value) == lookup.key).cloned()
            };
            // Whoever is gone needs no answer.
            let _ = lookup.caller.send(if value.is_some() { Ok(value) } else { rest.map(|()| None) });
        }
    }
}

fn refuse_late<K, T>(lookups: &mut Vec<Lookup<K, T>>) {
    let now = Instant::now();
    let late = lookups.partition_point(|lookup| lookup.until <= now);
    for lookup in lookups.drain(..late) {
        let _ = lookup.caller.send(Err(UserError::Call(CallError::TimedOut)));
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::join;

    use super::*;

    const PATIENCE: Duration = Duration::from_hours(1);

    /// Its own key.
    fn key(value: &u32) -> &u32 {
        value
    }

    #[tokio::test]
    async fn the_first_of_those_that_gather_tells_and_each_gets_the_value_of_its_key() {
        let (inbox, told) = (Inbox::<u32, u32>::new(PATIENCE), AtomicUsize::new(0));
        let tell = || {
            told.fetch_add(1, Ordering::Relaxed);
        };
        let find = |id| inbox.find(id, tell);
        let statement = async {
            let batch = inbox.take(9);
            assert_eq!(batch.keys().copied().collect::<Vec<_>>(), [3, 1, 3, 2]);
            batch.answer(vec![4, 3, 1], key, Ok(()));
        };
        // Polled in this order.
        let (a, b, c, d, ()) = join!(biased; find(3), find(1), find(3), find(2), statement);
        assert_eq!((a, b, c, d), (Ok(Some(3)), Ok(Some(1)), Ok(Some(3)), Ok(None)));
        assert_eq!(told.load(Ordering::Relaxed), 1);
        assert!(inbox.is_empty());
        join!(biased; async { find(1).await.unwrap() }, async { inbox.take(9).answer(vec![], key, Ok(())) });
        assert_eq!(told.load(Ordering::Relaxed), 2, "the first after those");
    }

    #[tokio::test]
    async fn what_does_not_fit_waits_for_the_next_statement() {
        let inbox = Inbox::<u32, u32>::new(PATIENCE);
        let statements = async {
            inbox.take(1).answer(vec![1], key, Ok(()));
            inbox.take(1).answer(vec![2], key, Ok(()));
        };
        let found = join!(biased; inbox.find(1, || ()), inbox.find(2, || ()), statements);
        assert_eq!(found, (Ok(Some(1)), Ok(Some(2)), ()));
    }

    #[tokio::test]
    async fn a_statement_that_fails_has_no_answer_for_those_that_it_did_not_find() {
        let inbox = Inbox::<u32, u32>::new(PATIENCE);
        let statement = async { inbox.take(9).answer(vec![1], key, Err(UserError::Unavailable)) };
        let found = join!(biased; inbox.find(1, || ()), inbox.find(2, || ()), statement);
        assert_eq!(found, (Ok(Some(1)), Err(UserError::Unavailable), ()));
    }

    #[tokio::test]
    async fn whose_time_is_over_is_told_wherever_the_lookup_is() {
        let late = Err(UserError::Call(CallError::TimedOut));
        let inbox = Inbox::<u32, u32>::new(Duration::ZERO);
        assert_eq!(join!(biased; inbox.find(1, || ()), async { inbox.sweep() }).0, late, "in the inbox");
        let mut batch = None;
        let statement = async { batch.insert(inbox.take(9)).wait(pending::<()>()).await };
        tokio::select! {
            biased;
            found = inbox.find(1, || ()) => assert_eq!(found, late, "in a batch"),
            () = statement => {}
        }
    }

    #[tokio::test]
    async fn who_has_time_waits_on() {
        let inbox = Inbox::<u32, u32>::new(PATIENCE);
        let statement = async {
            inbox.sweep();
            let mut batch = inbox.take(9);
            batch.wait(async {}).await;
            batch.answer(vec![1], key, Ok(()));
        };
        assert_eq!(join!(biased; inbox.find(1, || ()), statement).0, Ok(Some(1)));
    }

    #[tokio::test]
    async fn a_batch_that_is_lost_leaves_nobody_waiting() {
        let inbox = Inbox::<u32, u32>::new(PATIENCE);
        let found = join!(biased; inbox.find(1, || ()), async { drop(inbox.take(9)) }).0;
        assert_eq!(found, Err(UserError::Call(CallError::Gone)));
    }
}
