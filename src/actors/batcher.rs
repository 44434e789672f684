//! Requests that gather until one statement answers many of them.
//!
//! A message costs its sender and the actor more than the request that it brings. So requests gather where both see
//! them, and only the first of those that gather notifies the actor. A request has no timer of its own either. Its
//! deadline is enforced where it is: the inbox is swept for as long as it holds requests, whether or not there is an
//! actor; a batch refuses late requests while its statement runs.
//!
//! Requests gather while statements hold all permits. When one ends, all that gathered leave as one statement. No timer
//! takes part: a request that is alone leaves at once, and every answer is read after its request came in.
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
    /// The key of a request.
    type Key: Send + 'static;
    /// The answer.
    type Value: Send + 'static;
    /// Why there is no answer.
    type Error: From<CallError> + Send + 'static;
    /// Requests that one statement answers at most, whatever the configuration says.
    const MAX: usize = usize::MAX;

    /// Returns a filter that is called with one key after the other, and returns whether it fits into one statement
    /// with those that it has accepted. The others wait for the next statement, in their order.
    #[must_use]
    fn fitting() -> impl FnMut(&Self::Key) -> bool {
        |_: &Self::Key| true
    }

    /// Answers the keys, in their order.
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
    /// The statement's error, or a [`CallError`] where the deadline has passed or the batch was lost.
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
    /// Notifies the actor that a gathering has become ready.
    pub fn notify(&self) {
        // Without an actor nothing is lost: its successor checks all gatherings.
        if let Some(actor) = self.0.load() {
            let _ = actor.cast(Msg::Gathered);
        }
    }
}

/// A statement that runs and answers its requests; or a [chore](Plan::every).
pub type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Requests of one kind that gather until a statement answers them.
pub trait Gathering: Send + Sync + 'static {
    /// Whether there are requests that a statement can answer now. Where that becomes true, the actor has to be
    /// [notified](Notifier::notify).
    fn is_ready(&self) -> bool;

    /// Takes up to `max` requests; returns the statement that answers them, or `None` where no request is left.
    fn take(self: Arc<Self>, max: usize) -> Option<Run>;
}

/// Calls `sweep` in a task of its own, at intervals of `every`, until it returns false.
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
    /// A plan without statements. A statement answers at most `batch_max` requests, and a request waits for at most
    /// `patience`.
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

    /// A notifier of the actor that will send them off.
    #[must_use]
    pub fn notifier(&self) -> Notifier {
        Notifier(self.actor.clone())
    }

    /// Adds a chore, whose end nobody waits for. It starts together with the actor, and again at intervals of `every`.
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
                // For what its predecessor was notified of and did not do, and for notifications while there was no
                // actor.
                let _ = started.cast(Msg::Gathered);
                Ok(started.get_cell())
            }
        })
    }
}

enum Msg {
    /// Requests have gathered.
    Gathered,
    /// A permit is free, after the actor has missed one.
    Free,
    /// It is time for the chore at this place.
    Chore(usize),
}

/// Owns permits and turns; waits on nothing, because statements run in tasks beside it; dies only by a panic. Its
/// successor finds the requests where they gather.
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
    /// A state with all permits free. `notifier` makes the function that notifies the actor of a permit that it missed.
    fn new<F: Fn() + Send + Sync + 'static>(plan: Arc<Plan>, notifier: impl Fn() -> F) -> Self {
        let turns = |group: &Group| Turns { permits: Permits::new(group.permits, notifier()), next: 0 };
        let groups = plan.groups.iter().map(turns).collect();
        Self { plan, groups }
    }

    /// Sends off gathered requests for as long as there is a permit. `spawn` runs a statement and gives its permit
    /// back.
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
        // An actor that is gone needs no permit.
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
            // Lets ready tasks add their requests first. That waits for nothing, and a statement answers twice as many.
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

/// Assigns found values to `keys`, in their order; `key` returns the key of a value. A value with several requests is
/// cloned for all but the last of them.
pub fn align<K: Ord, T: Clone>(keys: &[K], mut found: Vec<T>, key: impl Fn(&T) -> &K) -> Vec<Option<T>> {
    // A request that is alone, as in a quiet service, needs no order.
    if let [wanted] = keys {
        return vec![found.into_iter().find(|value| key(value) == wanted)];
    }
    let mut places: Vec<usize> = (0..keys.len()).collect();
    places.sort_unstable_by_key(|at| keys.get(*at));
    found.sort_unstable_by(|a, b| key(a).cmp(key(b)));
    let mut aligned: Vec<Option<T>> = keys.iter().map(|_| None).collect();
    let mut found = found.into_iter().peekable();
    let mut places = places.into_iter().peekable();
    while let Some(at) = places.next() {
        let Some(wanted) = keys.get(at) else { continue };
        // Values without a request: only a fault in the database could cause them.
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
