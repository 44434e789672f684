//! Requests that gather until one statement answers many of them.
//!
//! A message costs its sender and the actor more than the request that it brings. So requests gather where both see them, and
//! only the first of those that gather notifies the actor. A request has no timer of its own either. Its deadline is enforced
//! where it is: the inbox is swept for as long as it holds requests, whether or not there is an actor; a batch refuses late
//! requests while its statement runs.
//!
//! While as many statements run as have a permit, requests gather; when one ends, all that gathered leave as one. No timer takes
//! part: alone, a request goes at once, and every answer was read after its request came in.
//!
//! Most requests gather in an inbox, first come, first served. A feature whose requests wait for more than a permit brings a
//! [`Gathering`] of its own.

mod inbox;
#[cfg(test)]
mod model;
mod permits;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::call::{CallError, Cell, Current};
use super::supervisor::Child;
use inbox::Inbox;
use permits::{Permit, Permits};

/// A statement that answers many requests.
pub trait Statement: Send + Sync + 'static {
    /// What a request asks for.
    type Key: Send + 'static;
    /// What it gets.
    type Value: Send + 'static;
    /// Why it gets nothing.
    type Error: From<CallError> + Send + 'static;
    /// Requests that one statement answers at most, whatever the configuration says.
    const MAX: usize = usize::MAX;

    /// Asked for one key after the other, says whether it fits into one statement with those that it has accepted. The
    /// others wait for the next statement, in their order.
    #[must_use]
    fn fitting() -> impl FnMut(&Self::Key) -> bool {
        |_: &Self::Key| true
    }

    /// Answers each key, in their order.
    fn run(&self, keys: Vec<Self::Key>) -> impl Future<Output = Vec<Result<Self::Value, Self::Error>>> + Send;
}

/// Takes requests for a statement.
pub struct Batcher<S: Statement> {
    inbox: Arc<Inbox<S>>,
    notifier: Notifier,
}

impl<S: Statement> Clone for Batcher<S> {
    fn clone(&self) -> Self {
        Self { inbox: Arc::clone(&self.inbox), notifier: self.notifier.clone() }
    }
}

impl<S: Statement> fmt::Debug for Batcher<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Batcher")
    }
}

impl<S: Statement> Batcher<S> {
    /// Waits for the answer to `key`.
    ///
    /// # Errors
    /// The statement's, or that of a call where the time is over or the batch was lost.
    pub async fn ask(&self, key: S::Key) -> Result<S::Value, S::Error> {
        let (answer, is_first) = self.inbox.put(key);
        if is_first {
            self.notifier.notify();
        }
        answer.await.unwrap_or_else(|_| Err(CallError::Gone.into()))
    }

    /// The actor itself, for supervision from outside.
    #[must_use]
    pub fn cell(&self) -> Option<Cell> {
        self.notifier.0.cell()
    }
}

/// Notifies the actor of a [`Plan`].
#[derive(Clone)]
pub struct Notifier(Current<Msg>);

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notifier")
    }
}

impl Notifier {
    /// Says that a gathering that was not ready is ready now.
    pub fn notify(&self) {
        // Where there is no actor, the next one looks for itself.
        if let Some(actor) = self.0.load() {
            let _ = actor.cast(Msg::Gathered);
        }
    }
}

/// A statement that runs, and answers those who asked; or a [chore](Plan::every).
pub type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Requests of one kind that gather until a statement answers them.
pub trait Gathering: Send + Sync + 'static {
    /// Whether there are requests that a statement can answer now. Where that becomes true, the actor has to be
    /// [notified](Notifier::notify).
    fn is_ready(&self) -> bool;

    /// Takes up to `max` of them, and gives the statement that answers them; `None` where there are none after all.
    fn take(self: Arc<Self>, max: usize) -> Option<Run>;
}

/// Calls `sweep` in a task of its own, every so often for as long as it says that there is more to sweep.
pub fn keep_sweeping(every: Duration, sweep: impl Fn() -> bool + Send + 'static) {
    tokio::spawn(async move {
        loop {
            sleep(every).await;
            if !sweep() {
                return;
            }
        }
    });
}

/// Statements of several kinds that an actor sends off. Kinds of one group share its permits, and take turns.
pub struct Plan {
    actor: Current<Msg>,
    batch_max: usize,
    patience: Duration,
    groups: Vec<Group>,
    chores: Vec<Chore>,
}

struct Group {
    permits: usize,
    kinds: Vec<Arc<dyn Gathering>>,
}

struct Chore {
    every: Duration,
    start: Box<dyn Fn() -> Run + Send + Sync>,
}

impl Plan {
    /// No statements yet. One answers `batch_max` requests at most, and each request waits for `patience` at the most.
    #[must_use]
    pub fn new(batch_max: usize, patience: Duration) -> Self {
        Self { actor: Current::vacant(), batch_max, patience, groups: Vec::new(), chores: Vec::new() }
    }

    /// Begins a group, of which `permits` statements may run at once.
    #[must_use]
    pub fn group(mut self, permits: usize) -> Self {
        self.groups.push(Group { permits, kinds: Vec::new() });
        self
    }

    /// Adds a statement to the group that was begun last.
    pub fn add<S: Statement>(&mut self, statement: S) -> Batcher<S> {
        let inbox = Arc::new(Inbox::new(statement, self.patience));
        self.add_gathering(Arc::clone(&inbox));
        Batcher { inbox, notifier: self.notifier() }
    }

    /// Adds requests that gather in their own way to the group that was begun last.
    pub fn add_gathering(&mut self, gathering: Arc<impl Gathering>) {
        if let Some(group) = self.groups.last_mut() {
            group.kinds.push(gathering);
        }
    }

    /// Notifies the actor that will send them off.
    #[must_use]
    pub fn notifier(&self) -> Notifier {
        Notifier(self.actor.clone())
    }

    /// Adds a chore, for which nobody waits: it is started together with the actor, and again every so often.
    pub fn every(&mut self, every: Duration, start: impl Fn() -> Run + Send + Sync + 'static) {
        self.chores.push(Chore { every, start: Box::new(start) });
    }

    /// How the actor is started.
    #[must_use]
    pub fn child(self, name: &'static str) -> Child {
        let plan = Arc::new(self);
        Child::new(name, move |supervisor| {
            let plan = Arc::clone(&plan);
            async move {
                let actor = plan.actor.clone();
                let (started, _) = Actor::spawn_linked(None, BatchActor, plan, supervisor).await?;
                actor.set(started.clone());
                // What its predecessor was notified of, or was not there to be notified of.
                let _ = started.cast(Msg::Gathered);
                Ok(started.get_cell())
            }
        })
    }
}

enum Msg {
    /// There are requests.
    Gathered,
    /// A permit is free again, and was missed.
    Free,
    /// It is time for the chore at this place.
    Chore(usize),
}

/// Owns whose turn it is; waits on nothing, statements run in tasks beside it; dies only by a panic, and its successor finds the
/// requests where they gather.
struct BatchActor;

struct State {
    plan: Arc<Plan>,
    groups: Vec<Turns>,
}

/// A group's permits, and the kind whose turn it is.
struct Turns {
    permits: Permits,
    next: usize,
}

impl State {
    /// All permits are free. `notifier` makes what notifies the actor of a permit that was missed.
    fn new<F: Fn() + Send + Sync + 'static>(plan: Arc<Plan>, notifier: impl Fn() -> F) -> Self {
        let turns = |group: &Group| Turns { permits: Permits::new(group.permits, notifier()), next: 0 };
        let groups = plan.groups.iter().map(turns).collect();
        Self { plan, groups }
    }

    /// Sends off what has gathered, for as long as there is a permit for another statement. `spawn` runs a statement and gives
    /// its permit back.
    fn flush(&mut self, mut spawn: impl FnMut(Run, Permit)) {
        for (group, turns) in self.plan.groups.iter().zip(&mut self.groups) {
            let count = group.kinds.len();
            let waiting = |next: usize| {
                (next..next + count).find(|at| group.kinds.get(at % count).is_some_and(|kind| kind.is_ready()))
            };
            while let Some(at) = waiting(turns.next) {
                let (Some(kind), Some(permit)) = (group.kinds.get(at % count), turns.permits.take()) else { break };
                turns.next = (at + 1) % count;
                if let Some(run) = Arc::clone(kind).take(self.plan.batch_max) {
                    spawn(run, permit);
                }
            }
        }
    }
}

impl Actor for BatchActor {
    type Msg = Msg;
    type State = State;
    type Arguments = Arc<Plan>;

    async fn pre_start(&self, myself: ActorRef<Msg>, plan: Arc<Plan>) -> Result<State, ActorProcessingErr> {
        for (at, chore) in plan.chores.iter().enumerate() {
            let _ = myself.cast(Msg::Chore(at));
            // Ends with the actor.
            drop(myself.send_interval(chore.every, move || Msg::Chore(at)));
        }
        // An actor that is gone has no use for a permit.
        Ok(State::new(plan, || {
            let myself = myself.clone();
            move || drop(myself.cast(Msg::Free))
        }))
    }

    async fn handle(&self, _: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Chore(at) => {
                if let Some(chore) = state.plan.chores.get(at) {
                    tokio::spawn((chore.start)());
                }
                return Ok(());
            }
            // Whatever is ready to run first adds its request: nothing is waited for, and a statement answers twice as many.
            Msg::Gathered => yield_now().await,
            Msg::Free => {}
        }
        state.flush(|run, permit| {
            tokio::spawn(async move {
                run.await;
                drop(permit);
            });
        });
        Ok(())
    }
}

/// What was found, for each key in their order: `key` says whose a value is. A value that several ask for is cloned for all but
/// the last of them.
pub fn align<K: Ord, T: Clone>(keys: &[K], mut found: Vec<T>, key: impl Fn(&T) -> &K) -> Vec<Option<T>> {
    let mut places: Vec<usize> = (0..keys.len()).collect();
    places.sort_unstable_by_key(|at| keys.get(*at));
    found.sort_unstable_by(|a, b| key(a).cmp(key(b)));
    let mut aligned: Vec<Option<T>> = keys.iter().map(|_| None).collect();
    let mut found = found.into_iter().peekable();
    let mut places = places.into_iter().peekable();
    while let Some(at) = places.next() {
        let Some(wanted) = keys.get(at) else { continue };
        // Nobody has asked for those; the database would have to be at fault.
        while found.next_if(|value| key(value) < wanted).is_some() {}
        let is_last = places.peek().and_then(|next| keys.get(*next)) != Some(wanted);
        let value = if is_last {
            found.next_if(|value| key(value) == wanted)
        } else {
            found.peek().filter(|value| key(value) == wanted).cloned()
        };
        if let Some(place) = aligned.get_mut(at) {
            *place = value;
        }
    }
    aligned
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// Twice each key.
    pub(super) struct Double;

    impl Statement for Double {
        type Key = u32;
        type Value = u32;
        type Error = CallError;

        async fn run(&self, keys: Vec<u32>) -> Vec<Result<u32, CallError>> {
            keys.into_iter().map(|key| Ok(2 * key)).collect()
        }
    }

    #[tokio::test]
    async fn a_request_is_refused_in_time_where_the_actor_is_dead_and_has_no_successor() {
        let mut plan = Plan::new(10, Duration::from_millis(10)).group(1);
        let batcher = plan.add(Double);
        let plan = Arc::new(plan);
        let (actor, task) = Actor::spawn(None, BatchActor, Arc::clone(&plan)).await.unwrap();
        plan.actor.set(actor.clone());
        assert_eq!(batcher.ask(1).await, Ok(2));
        actor.kill();
        task.await.unwrap();
        let ask = async || timeout(Duration::from_secs(10), batcher.ask(1)).await.expect("an answer");
        assert_eq!(tokio::join!(ask(), ask()), (Err(CallError::TimedOut), Err(CallError::TimedOut)));
        assert_eq!(ask().await, Err(CallError::TimedOut), "later, too");
    }

    #[test]
    fn each_key_gets_its_value_in_order() {
        let aligned = align(&[3, 1, 3, 2], vec![4, 3, 1], |value| value);
        assert_eq!(aligned, [Some(3), Some(1), Some(3), None]);
        assert_eq!(align(&[] as &[u8], vec![1], |value| value), []);
    }
}
