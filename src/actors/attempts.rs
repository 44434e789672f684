//! The attempts actor: how often may somebody still try?
//!
//! Owns the lines of those who wait for their turn, and the queue of ends to count; waits on nothing, statements run in tasks
//! beside it; dies only by a panic, and then those who wait are told so at once.
//!
//! A login reserves an attempt before its password is checked and resolves it after. PostgreSQL holds the counters, so
//! that all replicas agree, and admits an attempt only if it and all that are under way could fail without passing a limit.
//! Where attempts under way alone stand in its way, they may turn out to be valid: it waits for one to end, in process by
//! being woken, across replicas by asking again.

mod batch;
mod known;
mod lease;
mod lines;
mod store;

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort};
use thiserror::Error;

use super::batch::Queue;
use super::hasher::COMPUTE_TIMEOUT;
use super::supervisor::Child;
use super::{CallError, Current};
use crate::config::Config;
use crate::database::statements::{Statements, Unavailable};
use crate::domain::network::{Network, Standing};
use crate::domain::pseudonym::Pseudonyms;
use crate::telemetry::Metrics;
use batch::{Asked, Batches, FULL, LATE, LOCKED, PAUSED, Resolved, Waiter};
use known::Known;
use lease::{End, Key};
use lines::Lines;
use store::Rules;

pub use lease::{Outcome, Reservation};

/// On top of `database.timeout_ms`: the statement answers for itself when that is over, and should be heard.
const GRACE: Duration = Duration::from_millis(500);
/// Statements of each kind under way at once: while one runs, the next gathers.
const STATEMENTS: usize = 2;
/// How often those who wait ask whether attempts on other replicas have ended; on this one they are told.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How often counters that mean nothing any more are looked for.
const REAP_EVERY: Duration = Duration::from_secs(30);

/// Counts attempts to log in.
#[derive(Debug, Clone)]
pub struct AttemptsHandle {
    actor: Current<Msg>,
    pseudonyms: Arc<Pseudonyms>,
    known: Known,
    enabled: bool,
    max_wait: Duration,
    timeout: Duration,
}

/// Why no attempt was admitted, or none counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AttemptError {
    /// Too many have failed, or are under way.
    #[error("too many attempts")]
    TooMany {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The database did not answer, refused, or took too long.
    #[error("the database is not available")]
    Unavailable,
    /// No answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<Unavailable> for AttemptError {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

impl AttemptsHandle {
    /// Admits an attempt to log in to the account of `email`, whether or not there is one, from `network`. Waits while only
    /// attempts under way, or a short pause, stand in its way: `hashing.max_wait_ms` at the most.
    ///
    /// # Errors
    /// Any [`AttemptError`].
    pub async fn reserve(&self, email: &str, network: Network) -> Result<Reservation, AttemptError> {
        let key = self.key(email, network);
        let lease = if self.enabled {
            let deadline = Instant::now() + self.max_wait;
            let timeout = self.max_wait + self.timeout;
            let reserve = |reply| Msg::Reserve(key, Waiter { reply, deadline, has_waited: false });
            Some(self.actor.call(timeout, reserve).await??)
        } else {
            None
        };
        let (email, network) = (self.pseudonyms.email(email), self.pseudonyms.network(network));
        Ok(Reservation::new(key, lease, (email, network), self.clone()))
    }

    /// What is known here of `network` to the account of `email`, without asking the database.
    #[must_use]
    pub fn standing(&self, email: &str, network: Network) -> Standing {
        if self.known.has(&self.key(email, network)) { Standing::Known } else { Standing::Stranger }
    }

    fn key(&self, email: &str, network: Network) -> Key {
        Key { subject: self.pseudonyms.subject(email), source: self.pseudonyms.source(network) }
    }

    /// The actor itself, for supervision from outside.
    #[must_use]
    pub fn cell(&self) -> Option<ActorCell> {
        self.actor.cell()
    }

    /// Counts and records an end. An end that an actor took with it when it died is told to its successor.
    async fn resolve(&self, end: End) -> Result<(), AttemptError> {
        let started = Instant::now();
        loop {
            let told = self.actor.call(self.timeout, |reply| Msg::Resolve(end.clone(), reply)).await;
            if told.as_ref().err() != Some(&CallError::Gone) || started.elapsed() > self.timeout {
                return told?;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

/// The handle, and how its actor is started.
pub(super) fn part(
    pool: Pool,
    config: &Config,
    pseudonyms: Arc<Pseudonyms>,
    metrics: &Arc<Metrics>,
) -> (AttemptsHandle, Child) {
    for reason in [LOCKED, PAUSED, LATE, FULL] {
        metrics.attempts_refused.with_label_values(&[reason]);
    }
    let (limits, database, max_wait) = (&config.limits, &config.database, config.hashing.max_wait);
    let handle = AttemptsHandle {
        actor: Current::vacant(),
        pseudonyms,
        known: Known::default(),
        enabled: limits.enabled,
        max_wait,
        timeout: database.timeout + GRACE,
    };
    // Longer than anything between an attempt's two statements may take, and both of them.
    let lease = max_wait + COMPUTE_TIMEOUT + 2 * handle.timeout;
    let batches = Arc::new(Batches {
        pool,
        statements: Statements::new(database, metrics),
        rules: Rules::new(limits, lease),
        rows_max: limits.attempts_max,
        metrics: Arc::clone(metrics),
        handle: handle.clone(),
    });
    let (actor, batch_max) = (handle.actor.clone(), database.batch_max);
    let child = Child::new("attempts", move |supervisor| {
        let (actor, arguments) = (actor.clone(), (batch_max, Arc::clone(&batches)));
        async move {
            let (started, _) = Actor::spawn_linked(None, AttemptsActor, arguments, supervisor).await?;
            actor.set(started.clone());
            Ok(started.get_cell())
        }
    });
    (handle, child)
}

type Reply<T> = RpcReplyPort<Result<T, AttemptError>>;

enum Msg {
    Reserve(Key, Waiter),
    Resolve(End, Reply<()>),
    /// A reserving statement has ended; with those who have to go on waiting.
    Asked(Vec<batch::Rest>),
    /// A resolving statement has ended, of attempts on these accounts, and of logins from these networks.
    Resolved(Vec<[u8; 32]>, Vec<Key>),
    /// Time has passed for those who wait.
    Tick,
    /// Time to delete old counters.
    Reap,
}

struct State {
    batches: Arc<Batches>,
    batch_max: usize,
    reserves_free: usize,
    resolves_free: usize,
    lines: Lines<Waiter>,
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
            ends: Queue::default(),
            is_ticking: false,
            batches,
        })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Reserve(key, waiter) => {
                if let Err(waiter) = state.lines.join(key, waiter) {
                    state.batches.refuse(waiter, FULL, batch::RETRY_AFTER_CROWD);
                }
            }
            Msg::Resolve(end, reply) => state.ends.push(end, reply),
            Msg::Asked(rests) => {
                state.reserves_free += 1;
                for batch::Rest { key, waiters, ask_again, known } in rests {
                    if known {
                        state.lines.know(key);
                    }
                    state.lines.put_back(key, waiters, ask_again);
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
                    state.batches.refuse(waiter, LATE, batch::RETRY_AFTER_CROWD);
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
