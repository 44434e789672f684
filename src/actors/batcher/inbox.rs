//! Requests that gather for one kind of statement.

use std::mem;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::sleep_until;

use super::{Gathering, Run, Statement, keep_sweeping};
use crate::actors::call::CallError;

/// How often waiting requests are checked for their deadlines.
const SWEEP: Duration = Duration::from_millis(250);

/// Requests that wait for their statement, first come, first served.
pub(super) struct Inbox<S: Statement> {
    pub(super) statement: S,
    waiting: Mutex<Waiting<S>>,
    patience: Duration,
}

struct Waiting<S: Statement> {
    requests: Vec<Request<S>>,
    /// Whether a task sweeps them. Deadlines hold without the actor and its supervisor.
    is_swept: bool,
}

type Answer<S> = Result<<S as Statement>::Value, <S as Statement>::Error>;

struct Request<S: Statement> {
    key: S::Key,
    caller: Caller<S>,
}

struct Caller<S: Statement> {
    /// `None` once it was refused.
    reply: Option<oneshot::Sender<Answer<S>>>,
    until: Instant,
}

/// Requests that one statement answers.
struct Batch<S: Statement> {
    keys: Vec<S::Key>,
    callers: Vec<Caller<S>>,
}

impl<S: Statement> Inbox<S> {
    /// An empty inbox, whose callers wait for at most `patience`.
    pub(super) fn new(statement: S, patience: Duration) -> Self {
        Self { statement, waiting: Mutex::new(Waiting { requests: Vec::new(), is_swept: false }), patience }
    }

    /// Adds a request. Returns the receiver of its answer, and whether it is the first of those that gather.
    pub(super) fn put(self: &Arc<Self>, key: S::Key) -> (oneshot::Receiver<Answer<S>>, bool) {
        let (reply, answer) = oneshot::channel();
        let caller = Caller { reply: Some(reply), until: Instant::now() + self.patience };
        let mut waiting = self.lock();
        waiting.requests.push(Request { key, caller });
        let is_first = waiting.requests.len() == 1;
        let is_swept = mem::replace(&mut waiting.is_swept, true);
        drop(waiting);
        if !is_swept {
            let inbox = Arc::clone(self);
            keep_sweeping(SWEEP, move || inbox.sweep());
        }
        (answer, is_first)
    }

    /// The first `max` requests that fit into one statement.
    fn take_batch(&self, max: usize) -> Batch<S> {
        let mut fits = S::fitting();
        let mut waiting = self.lock();
        let count = waiting.requests.len().min(max);
        let mut batch = Batch { keys: Vec::with_capacity(count), callers: Vec::with_capacity(count) };
        for Request { key, caller } in waiting.requests.extract_if(.., |request| fits(&request.key)).take(max) {
            batch.keys.push(key);
            batch.callers.push(caller);
        }
        batch
    }

    /// Refuses requests whose deadline has passed. Returns whether others wait.
    fn sweep(&self) -> bool {
        let now = Instant::now();
        let mut waiting = self.lock();
        let late = waiting.requests.partition_point(|request| request.caller.until <= now);
        for mut request in waiting.requests.drain(..late) {
            request.caller.refuse();
        }
        waiting.is_swept = !waiting.requests.is_empty();
        waiting.is_swept
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<S>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Statement> Gathering for Inbox<S> {
    fn is_ready(&self) -> bool {
        !self.lock().requests.is_empty()
    }

    fn take(self: Arc<Self>, max: usize) -> Option<Run> {
        let batch = self.take_batch(max.min(S::MAX));
        (!batch.keys.is_empty()).then(|| Box::pin(async move { batch.run(&self.statement).await }) as Run)
    }
}

impl<S: Statement> Caller<S> {
    fn refuse(&mut self) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Err(CallError::TimedOut.into()));
        }
    }
}

impl<S: Statement> Batch<S> {
    /// Runs `statement` and hands its answers out. Refuses requests whose deadline passes meanwhile.
    async fn run(mut self, statement: &S) {
        let mut running = pin!(statement.run(mem::take(&mut self.keys)));
        let mut in_time = self.callers.iter_mut();
        let answers = loop {
            let Some(first) = in_time.next() else { break running.await };
            tokio::select! {
                biased;
                answers = &mut running => break answers,
                // The requests behind it came later, so their deadlines are later.
                () = sleep_until(first.until.into()) => first.refuse(),
            }
        };
        for (caller, answer) in self.callers.into_iter().zip(answers) {
            if let Some(reply) = caller.reply {
                // A caller that is gone needs no answer.
                let _ = reply.send(answer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::future::pending;

    use super::super::tests::Double;
    use super::*;

    const PATIENCE: Duration = Duration::from_hours(1);

    /// No answers.
    struct Never;

    impl Statement for Never {
        type Key = u32;
        type Value = u32;
        type Error = CallError;

        async fn run(&self, _: Vec<u32>) -> Vec<Result<u32, CallError>> {
            pending().await
        }
    }

    #[tokio::test]
    async fn the_first_of_those_that_gather_is_known_and_each_gets_its_own_answer() {
        let inbox = Arc::new(Inbox::new(Double, PATIENCE));
        let ((a, first), (b, second)) = (inbox.put(1), inbox.put(2));
        assert!(first && !second && inbox.is_ready());
        inbox.take_batch(9).run(&Double).await;
        assert_eq!((a.await, b.await), (Ok(Ok(2)), Ok(Ok(4))));
        assert!(!inbox.is_ready() && inbox.put(3).1, "the first after those");
    }

    #[tokio::test]
    async fn what_does_not_fit_waits_for_the_next_statement() {
        let inbox = Arc::new(Inbox::new(Double, PATIENCE));
        let ((a, _), (mut b, _)) = (inbox.put(1), inbox.put(2));
        inbox.take_batch(1).run(&Double).await;
        assert_eq!(a.await, Ok(Ok(2)));
        assert!(b.try_recv().is_err());
        inbox.take_batch(1).run(&Double).await;
        assert_eq!(b.await, Ok(Ok(4)));
    }

    /// Twice each key, and no key twice.
    struct Distinct;

    impl Statement for Distinct {
        type Key = u32;
        type Value = u32;
        type Error = CallError;

        fn fitting() -> impl FnMut(&u32) -> bool {
            let mut keys = HashSet::new();
            move |key| keys.insert(*key)
        }

        async fn run(&self, keys: Vec<u32>) -> Vec<Result<u32, CallError>> {
            Double.run(keys).await
        }
    }

    #[tokio::test]
    async fn keys_that_do_not_fit_together_go_one_statement_after_the_other() {
        let inbox = Arc::new(Inbox::new(Distinct, PATIENCE));
        let _answers: Vec<_> = [1, 1, 2, 1, 3, 4].map(|key| inbox.put(key)).into();
        let taken = || inbox.take_batch(3).keys;
        assert_eq!([taken(), taken(), taken(), taken()], [vec![1, 2, 3], vec![1, 4], vec![1], vec![]]);
    }

    #[tokio::test]
    async fn a_request_whose_time_is_over_is_refused_wherever_it_is() {
        let inbox = Arc::new(Inbox::new(Never, Duration::ZERO));
        let (swept, _) = inbox.put(1);
        inbox.sweep();
        assert_eq!(swept.await, Ok(Err(CallError::TimedOut)), "in the inbox");
        let ((a, _), (b, _)) = (inbox.put(1), inbox.put(2));
        let batch = inbox.take_batch(9);
        tokio::select! {
            biased;
            () = batch.run(&Never) => unreachable!("it never ends"),
            late = async { (a.await, b.await) } => {
                assert_eq!(late, (Ok(Err(CallError::TimedOut)), Ok(Err(CallError::TimedOut))), "in a batch");
            }
        }
    }

    #[tokio::test]
    async fn a_request_that_has_time_waits_on() {
        let inbox = Arc::new(Inbox::new(Double, PATIENCE));
        let (answer, _) = inbox.put(1);
        inbox.sweep();
        inbox.take_batch(9).run(&Double).await;
        assert_eq!(answer.await, Ok(Ok(2)));
    }

    #[tokio::test]
    async fn a_batch_that_is_lost_leaves_nobody_waiting() {
        let inbox = Arc::new(Inbox::new(Double, PATIENCE));
        let (answer, _) = inbox.put(1);
        drop(inbox.take_batch(9));
        assert!(answer.await.is_err());
    }
}
