//! Inbox, permits and notifications under thousands of orders of events. shuttle runs one task at a time, lets it go on until it
//! yields, sends or waits, and then chooses the next. No lock is held there, so the real ones take part as they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shuttle::future::{block_on, yield_now};
use shuttle::sync::mpsc;
use shuttle::thread;

use super::inbox::Inbox;
use super::{Gathering, Plan, Run, State, Statement};
use crate::actors::call::CallError;

const ORDERS: usize = 2_000;
const CALLERS: u32 = 4;
const PATIENCE: Duration = Duration::from_hours(1);

/// Doubles each key, for as many statements at once as there are permits.
struct Permitted {
    permits: usize,
    running: AtomicUsize,
}

impl Statement for Permitted {
    type Key = u32;
    type Value = u32;
    type Error = CallError;

    async fn run(&self, keys: Vec<u32>) -> Vec<Result<u32, CallError>> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(running <= self.permits, "{running} statements, {} permits", self.permits);
        yield_now().await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        keys.into_iter().map(|key| Ok(2 * key)).collect()
    }
}

/// Yields before and after each step of the actor.
struct Interrupted(Arc<Inbox<Permitted>>);

impl Gathering for Interrupted {
    fn is_ready(&self) -> bool {
        thread::yield_now();
        let is_ready = self.0.is_ready();
        thread::yield_now();
        is_ready
    }

    fn take(self: Arc<Self>, max: usize) -> Option<Run> {
        thread::yield_now();
        let run = Arc::clone(&self.0).take(max);
        thread::yield_now();
        run
    }
}

enum Mail {
    Notified,
    End,
}

/// Callers ask at once, and an actor sends their requests off. The first `lost` statements are dropped, as by a panic.
/// Returns how many callers got no answer.
fn serve(permits: usize, batch_max: usize, mut lost: usize) -> usize {
    let (sender, mailbox) = mpsc::channel();
    let inbox = Arc::new(Inbox::new(Permitted { permits, running: AtomicUsize::new(0) }, PATIENCE));
    let mut plan = Plan::new(batch_max, PATIENCE).group(permits);
    plan.add_gathering(Arc::new(Interrupted(Arc::clone(&inbox))));
    let notify = || {
        let sender = sender.clone();
        move || sender.send(Mail::Notified).unwrap()
    };
    let mut state = State::new(Arc::new(plan), notify);
    let actor = thread::spawn(move || {
        while let Ok(Mail::Notified) = mailbox.recv() {
            state.flush(|run, permit| {
                let is_lost = lost > 0;
                lost = lost.saturating_sub(1);
                thread::spawn(move || {
                    if is_lost {
                        drop(run);
                    } else {
                        block_on(run);
                    }
                    drop(permit);
                });
            });
        }
    });
    let caller = |key| {
        let (inbox, sender) = (Arc::clone(&inbox), sender.clone());
        thread::spawn(move || {
            let (answer, is_first) = inbox.put(key);
            if is_first {
                sender.send(Mail::Notified).unwrap();
            }
            block_on(answer)
        })
    };
    let callers: Vec<_> = (0..CALLERS).map(|key| (key, caller(key))).collect();
    let mut unanswered = 0;
    for (key, caller) in callers {
        match caller.join().unwrap() {
            Ok(answer) => assert_eq!(answer, Ok(2 * key)),
            Err(_) => unanswered += 1,
        }
    }
    sender.send(Mail::End).unwrap();
    actor.join().unwrap();
    unanswered
}

fn in_every_order(check: impl Fn() + Send + Sync + 'static) {
    // Sweeps and deadlines need a runtime. It does not run, so nothing depends on the time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    shuttle::check_random(check, ORDERS);
}

#[test]
fn every_request_is_answered_and_no_more_statements_run_than_have_permits() {
    in_every_order(|| {
        for (permits, batch_max) in [(1, 1), (1, 2), (2, 1), (2, 9)] {
            assert_eq!(serve(permits, batch_max, 0), 0);
        }
    });
}

#[test]
fn a_statement_that_is_lost_gives_its_permit_back_and_leaves_nobody_waiting() {
    in_every_order(|| assert_eq!(serve(1, 1, 2), 2));
}
