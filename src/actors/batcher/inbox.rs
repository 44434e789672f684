//! Requests for one statement on their way to the actor.

use std::mem;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::sleep_until;

use super::Statement;
use crate::actors::call::CallError;

/// Requests that wait for their statement: those that came first in front.
pub(super) struct Inbox<S: Statement> {
    pub(super) statement: S,
    waiting: Mutex<Vec<Request<S>>>,
    patience: Duration,
}

type Answer<S> = Result<<S as Statement>::Value, <S as Statement>::Error>;

struct Request<S: Statement> {
    key: S::Key,
    caller: Caller<S>,
}

struct Caller<S: Statement> {
    /// `None` once its time was over.
    reply: Option<oneshot::Sender<Answer<S>>>,
    until: Instant,
}

/// Requests that one statement answers.
pub(super) struct Batch<S: Statement> {
    keys: Vec<S::Key>,
    callers: Vec<Caller<S>>,
}

impl<S: Statement> Inbox<S> {
    /// An empty one, whose callers wait for `patience` at the most.
    pub(super) fn new(statement: S, patience: Duration) -> Self {
        Self { statement, waiting: Mutex::default(), patience }
    }

    /// Adds a request. Gives where its answer comes, and whether it is the first of those that gather.
    pub(super) fn put(&self, key: S::Key) -> (oneshot::Receiver<Answer<S>>, bool) {
        let (reply, answer) = oneshot::channel();
        let caller = Caller { reply: Some(reply), until: Instant::now() + self.patience };
        let mut waiting = self.lock();
        waiting.push(Request { key, caller });
        (answer, waiting.len() == 1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// The first `max` requests.
    pub(super) fn take(&self, max: usize) -> Batch<S> {
        let mut waiting = self.lock();
        let rest = if waiting.len() > max { waiting.split_off(max) } else { Vec::with_capacity(waiting.len()) };
        let taken = mem::replace(&mut *waiting, rest);
        drop(waiting);
        let (keys, callers) = taken.into_iter().map(|request| (request.key, request.caller)).unzip();
        Batch { keys, callers }
    }

    /// Refuses those whose time is over.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut waiting = self.lock();
        let late = waiting.partition_point(|request| request.caller.until <= now);
        for mut request in waiting.drain(..late) {
            request.caller.refuse();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Request<S>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Runs `statement` and hands its answers out; refuses those whose time is over meanwhile.
    pub(super) async fn run(mut self, statement: &S) {
        let mut running = pin!(statement.run(mem::take(&mut self.keys)));
        let mut in_time = self.callers.iter_mut();
        let answers = loop {
            let Some(first) = in_time.next() else { break running.await };
            tokio::select! {
                biased;
                answers = &mut running => break answers,
                // Those behind it came later.
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
    use std::future::pending;

    use super::*;

    const PATIENCE: Duration = Duration::from_hours(1);

    /// Twice each key.
    struct Double;

    impl Statement for Double {
        type Key = u32;
        type Value = u32;
        type Error = CallError;

        async fn run(&self, keys: Vec<u32>) -> Vec<Result<u32, CallError>> {
            keys.into_iter().map(|key| Ok(2 * key)).collect()
        }
    }

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
    async fn the_first_of_those_that_gather_is_told_apart_and_each_gets_its_own_answer() {
        let inbox = Inbox::new(Double, PATIENCE);
        let ((a, first), (b, second)) = (inbox.put(1), inbox.put(2));
        assert!(first && !second && !inbox.is_empty());
        inbox.take(9).run(&Double).await;
        assert_eq!((a.await, b.await), (Ok(Ok(2)), Ok(Ok(4))));
        assert!(inbox.is_empty() && inbox.put(3).1, "the first after those");
    }

    #[tokio::test]
    async fn what_does_not_fit_waits_for_the_next_statement() {
        let inbox = Inbox::new(Double, PATIENCE);
        let ((a, _), (mut b, _)) = (inbox.put(1), inbox.put(2));
        inbox.take(1).run(&Double).await;
        assert_eq!(a.await, Ok(Ok(2)));
        assert!(b.try_recv().is_err());
        inbox.take(1).run(&Double).await;
        assert_eq!(b.await, Ok(Ok(4)));
    }

    #[tokio::test]
    async fn a_request_whose_time_is_over_is_refused_wherever_it_is() {
        let inbox = Inbox::new(Never, Duration::ZERO);
        let (swept, _) = inbox.put(1);
        inbox.sweep();
        assert_eq!(swept.await, Ok(Err(CallError::TimedOut)), "in the inbox");
        let ((a, _), (b, _)) = (inbox.put(1), inbox.put(2));
        let batch = inbox.take(9);
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
        let inbox = Inbox::new(Double, PATIENCE);
        let (answer, _) = inbox.put(1);
        inbox.sweep();
        inbox.take(9).run(&Double).await;
        assert_eq!(answer.await, Ok(Ok(2)));
    }

    #[tokio::test]
    async fn a_batch_that_is_lost_leaves_nobody_waiting() {
        let inbox = Inbox::new(Double, PATIENCE);
        let (answer, _) = inbox.put(1);
        drop(inbox.take(9));
        assert!(answer.await.is_err());
    }
}
