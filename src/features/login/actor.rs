//! The attempts actor: how often may somebody still try?
//!
//! Owns the lines of those who wait for their turn, and the queue of ends to count; waits on nothing, statements run in tasks
//! beside it; dies only by a panic, and then those who wait are told so at once.
//!
//! A login reserves an attempt before its password is checked and resolves it after. PostgreSQL holds the counters, so
//! that all replicas agree; policy.rs admits an attempt only if it and all that are under way could fail without passing a limit.
//! Where attempts under way alone stand in its way, they may turn out to be valid: it waits for one to end, in process by
//! being woken, across replicas by asking again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::batches::{self, Asked, Batches, FULL, LATE, LOCKED, Resolved, Waiter};
use super::handle::{ASK_AGAIN, Msg, Reply};
use super::lease::{self, End, Key};
use super::lines::Lines;
use super::locked::{Lock, Locked};
use super::queue::Queue;
use crate::actors::{Child, Current};

/// Statements of each kind under way at once: while one runs, the next gathers.
const STATEMENTS: usize = 2;
/// How often counters that mean nothing any more are looked for.
const REAP_EVERY: Duration = Duration::from_secs(30);

/// How the actor is started.
pub(super) fn child(actor: Current<Msg>, batch_max: usize, batches: Arc<Batches>) -> Child {
    Child::new("attempts", move |supervisor| {
        let (actor, arguments) = (actor.clone(), (batch_max, Arc::clone(&batches)));
        async move {
            let (started, _) = Actor::spawn_linked(None, AttemptsActor, arguments, supervisor).await?;
            actor.set(started.clone());
            Ok(started.get_cell())
        }
    })
}

struct State {
    batches: Arc<Batches>,
    batch_max: usize,
    reserves_free: usize,
    resolves_free: usize,
    lines: Lines<Waiter>,
    locked: Locked,
    ends: Queue<End, Reply<()>>,
    is_ticking: bool,
}

impl State {
    /// Sends off what has gathered, for as long as there is a place for another statement.
    fn flush(&mut self, myself: &ActorRef<Msg>) {
        while self.reserves_free > 0 {
            let asking = self.lines.take(self.batch_max);
            if asking.is_empty() {
                break;
            }
            self.reserves_free -= 1;
            let asked = Asked::new(myself.clone(), &asking);
            let batches = Arc::clone(&self.batches);
            tokio::spawn(async move { batches.reserve(asking, asked).await });
        }
        while self.resolves_free > 0 && !self.ends.is_empty() {
            self.resolves_free -= 1;
            let ends = lease::take_orderly(&mut self.ends, self.batch_max);
            let resolved = Resolved::new(myself.clone(), &ends);
            let batches = Arc::clone(&self.batches);
            tokio::spawn(async move { batches.resolve(ends, resolved).await });
        }
        if !self.is_ticking && !self.lines.is_empty() {
            self.is_ticking = true;
            myself.send_after(ASK_AGAIN, || Msg::Tick);
        }
    }
}

impl State {
    /// For how long a login is refused of which the database need not be asked.
    fn refuses(&self, now: Instant, key: &Key) -> Option<Duration> {
        // A login may have made it known since.
        self.locked.refuses(now, key).filter(|_| !self.batches.handle.known.has(key))
    }

    /// Remembers that an account is locked to strangers, and refuses those who wait.
    fn remember(&mut self, subject: [u8; 32], lock: Lock) {
        let now = Instant::now();
        let until = lock.until;
        self.locked.remember(now, subject, lock);
        let (locked, known) = (&self.locked, &self.batches.handle.known);
        let goes = |key: &Key| locked.refuses(now, key).is_some() && !known.has(key);
        for waiter in self.lines.clear(&subject, goes) {
            self.batches.refuse(waiter, LOCKED, until.saturating_duration_since(now));
        }
    }
}

struct AttemptsActor;

impl Actor for AttemptsActor {
    type Msg = Msg;
    type State = State;
    type Arguments = (usize, Arc<Batches>);

    async fn pre_start(
        &self,
        myself: ActorRef<Msg>,
        (batch_max, batches): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let _ = myself.cast(Msg::Reap);
        myself.send_interval(REAP_EVERY, || Msg::Reap);
        Ok(State {
            batch_max,
            reserves_free: STATEMENTS,
            resolves_free: STATEMENTS,
            lines: Lines::new(batches.handle.known.clone()),
            locked: Locked::default(),
            ends: Queue::default(),
            is_ticking: false,
            batches,
        })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Reserve(key, waiter) => {
                if let Some(wait) = state.refuses(Instant::now(), &key) {
                    state.batches.refuse(waiter, LOCKED, wait);
                } else if let Err(waiter) = state.lines.join(key, waiter) {
                    state.batches.refuse(waiter, FULL, batches::RETRY_AFTER_CROWD);
                }
            }
            Msg::Resolve(end, reply) => state.ends.push(end, reply),
            Msg::Asked(rests) => {
                state.reserves_free += 1;
                for batches::Rest { key, waiters, ask_again, known, lock } in rests {
                    if known {
                        state.lines.know(key);
                    }
                    state.lines.put_back(key, waiters, ask_again);
                    if let Some(lock) = lock {
                        state.remember(key.subject, lock);
                    }
                }
            }
            Msg::Resolved(subjects, succeeded) => {
                state.resolves_free += 1;
                for key in succeeded {
                    state.lines.know(key);
                }
                for subject in &subjects {
                    state.lines.wake(subject);
                }
            }
            Msg::Tick => {
                state.is_ticking = false;
                let now = Instant::now();
                for waiter in state.lines.sweep(now, |waiter| waiter.deadline <= now || waiter.reply.is_closed()) {
                    state.batches.refuse(waiter, LATE, batches::RETRY_AFTER_CROWD);
                }
            }
            Msg::Reap => {
                let batches = Arc::clone(&state.batches);
                tokio::spawn(async move { batches.reap().await });
            }
        }
        state.flush(&myself);
        Ok(())
    }
}
