//! Requests that gather until one statement answers many of them.
//!
//! A message costs its sender and the actor more than the request that it brings. So requests gather where both see them, and
//! only the first of those that gather notifies the actor. None has a timer of its own either: whoever holds it refuses it when
//! its time is over, the inbox when it is swept, the batch while its statement runs.
//!
//! While as many statements run as have a permit, requests gather; when one ends, all that gathered leave as one. No timer takes
//! part: alone, a request goes at once, and every answer was read after its request came in.

mod inbox;
mod permits;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::yield_now;

use super::call::{CallError, Cell, Current};
use super::supervisor::Child;
use inbox::Inbox;
use permits::{Permit, Permits};

/// How often requests are looked through for those whose time is over.
const SWEEP: Duration = Duration::from_millis(250);

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

    /// Answers each key, in their order.
    fn run(&self, keys: Vec<Self::Key>) -> impl Future<Output = Vec<Result<Self::Value, Self::Error>>> + Send;
}

/// Takes requests for a statement.
pub struct Batcher<S: Statement> {
    inbox: Arc<Inbox<S>>,
    actor: Current<Msg>,
}

impl<S: Statement> Clone for Batcher<S> {
    fn clone(&self) -> Self {
        Self { inbox: Arc::clone(&self.inbox), actor: self.actor.clone() }
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
        // Where there is no actor, the next one looks for itself.
        if is_first && let Some(actor) = self.actor.load() {
            let _ = actor.cast(Msg::Gathered);
        }
        answer.await.unwrap_or_else(|_| Err(CallError::Gone.into()))
    }

    /// The actor itself, for supervision from outside.
    #[must_use]
    pub fn cell(&self) -> Option<Cell> {
        self.actor.cell()
    }
}

/// Statements of several kinds that an actor sends off. Kinds of one group share its permits, and take turns.
pub struct Plan {
    actor: Current<Msg>,
    batch_max: usize,
    patience: Duration,
    groups: Vec<Group>,
}

struct Group {
    permits: usize,
    kinds: Vec<Arc<dyn Kind>>,
}

impl Plan {
    /// No statements yet. One answers `batch_max` requests at most, and each request waits for `patience` at the most.
    #[must_use]
    pub fn new(batch_max: usize, patience: Duration) -> Self {
        Self { actor: Current::vacant(), batch_max, patience, groups: Vec::new() }
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
        if let Some(group) = self.groups.last_mut() {
            group.kinds.push(Arc::clone(&inbox) as Arc<dyn Kind>);
        }
        Batcher { inbox, actor: self.actor.clone() }
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

/// Requests of one kind, whatever their statement.
trait Kind: Send + Sync {
    fn is_empty(&self) -> bool;
    /// Sends off up to `max` requests.
    fn send(self: Arc<Self>, max: usize, permit: Permit);
    fn sweep(&self);
}

impl<S: Statement> Kind for Inbox<S> {
    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }

    fn send(self: Arc<Self>, max: usize, permit: Permit) {
        let batch = self.take(max.min(S::MAX));
        tokio::spawn(async move {
            batch.run(&self.statement).await;
            drop(permit);
        });
    }

    fn sweep(&self) {
        Self::sweep(self);
    }
}

enum Msg {
    /// There are requests.
    Gathered,
    /// A permit is free again, and was missed.
    Free,
    /// It is time to look for requests whose time is over.
    Sweep,
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
    /// Sends off what has gathered, for as long as there is a permit for another statement.
    fn flush(&mut self) {
        for (group, turns) in self.plan.groups.iter().zip(&mut self.groups) {
            let count = group.kinds.len();
            let waiting = |next: usize| {
                (next..next + count).find(|at| !group.kinds.get(at % count).is_none_or(|kind| kind.is_empty()))
            };
            while let Some(at) = waiting(turns.next) {
                let (Some(kind), Some(permit)) = (group.kinds.get(at % count), turns.permits.take()) else { break };
                turns.next = (at + 1) % count;
                Arc::clone(kind).send(self.plan.batch_max, permit);
            }
        }
    }
}

impl Actor for BatchActor {
    type Msg = Msg;
    type State = State;
    type Arguments = Arc<Plan>;

    async fn pre_start(&self, myself: ActorRef<Msg>, plan: Arc<Plan>) -> Result<State, ActorProcessingErr> {
        // Ends with the actor.
        drop(myself.send_interval(SWEEP, || Msg::Sweep));
        let turns = |group: &Group| {
            let myself = myself.clone();
            // An actor that is gone has no use for a permit.
            Turns { permits: Permits::new(group.permits, move || drop(myself.cast(Msg::Free))), next: 0 }
        };
        let groups = plan.groups.iter().map(turns).collect();
        Ok(State { plan, groups })
    }

    async fn handle(&self, _: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Sweep => {
                state.plan.groups.iter().flat_map(|group| &group.kinds).for_each(|kind| kind.sweep());
                return Ok(());
            }
            // Whatever is ready to run first adds its request: nothing is waited for, and a statement answers twice as many.
            Msg::Gathered => yield_now().await,
            Msg::Free => {}
        }
        state.flush();
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
    use super::*;

    #[test]
    fn each_key_gets_its_value_in_order() {
        let aligned = align(&[3, 1, 3, 2], vec![4, 3, 1], |value| value);
        assert_eq!(aligned, [Some(3), Some(1), Some(3), None]);
        assert_eq!(align(&[] as &[u8], vec![1], |value| value), []);
    }
}
