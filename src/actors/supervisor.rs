//! The supervisor.
//!
//! Owns the actors of the service; waits on nothing; dies when the service stops, and its children with it. It starts
//! them, links them, and replaces one that died: at once, or after a pause if one dies again and again ([`Part`]). It
//! does nothing else.

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::telemetry::{Health, Part};

type Spawning = Pin<Box<dyn Future<Output = Result<ActorCell, SpawnErr>> + Send>>;

/// How to start one part of the service, as often as needed.
pub struct Child {
    name: &'static str,
    spawn: Box<dyn Fn(ActorCell) -> Spawning + Send + Sync>,
}

impl std::fmt::Debug for Child {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Child({})", self.name)
    }
}

impl Child {
    /// `spawn` starts the actor linked to the given supervisor, and makes it its handle's current one.
    #[must_use]
    pub fn new<F>(name: &'static str, spawn: impl Fn(ActorCell) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<ActorCell, SpawnErr>> + Send + 'static,
    {
        Self { name, spawn: Box::new(move |supervisor| Box::pin(spawn(supervisor))) }
    }
}

/// Starts all `children` under a supervisor, whose stopping stops them.
///
/// # Errors
/// Where a child doesn't start.
pub async fn start(children: Vec<Child>, health: Arc<Health>) -> Result<ActorCell, SpawnErr> {
    let (supervisor, _) = Actor::spawn(None, Supervisor, (children, health)).await?;
    Ok(supervisor.get_cell())
}

enum Msg {
    /// Try again to start the child at this place.
    Start(usize),
}

struct State {
    children: Vec<Supervised>,
    /// The supervisor itself, which nobody starts again.
    own: Part,
}

impl Drop for State {
    fn drop(&mut self) {
        self.own.is_gone();
    }
}

struct Supervised {
    child: Child,
    /// `None` while it is being restarted.
    id: Option<ActorId>,
    part: Part,
}

struct Supervisor;

impl Actor for Supervisor {
    type Msg = Msg;
    type State = State;
    type Arguments = (Vec<Child>, Arc<Health>);

    async fn pre_start(
        &self,
        myself: ActorRef<Msg>,
        (specs, health): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let mut children = Vec::with_capacity(specs.len());
        for child in specs {
            let mut part = health.part(child.name);
            let started = (child.spawn)(myself.get_cell()).await?;
            part.is_up();
            children.push(Supervised { child, id: Some(started.get_id()), part });
        }
        let mut own = health.part("supervisor");
        own.is_up();
        Ok(State { children, own })
    }

    async fn handle(
        &self,
        myself: ActorRef<Msg>,
        Msg::Start(at): Msg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(Supervised { child, id, part }) = state.children.get_mut(at) else { return Ok(()) };
        match (child.spawn)(myself.get_cell()).await {
            Ok(started) => {
                *id = Some(started.get_id());
                part.is_up();
            }
            Err(error) => {
                myself.send_after(part.has_died(&error.to_string()), move || Msg::Start(at));
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let cause = match &event {
            SupervisionEvent::ActorFailed(_, error) => error.to_string(),
            SupervisionEvent::ActorTerminated(_, _, reason) => reason.clone().unwrap_or_else(|| "killed".to_owned()),
            _ => return Ok(()),
        };
        let dead = event.actor_cell().map(ActorCell::get_id);
        let mut children = state.children.iter_mut().enumerate();
        let Some((at, child)) = children.find(|(_, child)| child.id.is_some() && child.id == dead) else {
            return Ok(());
        };
        child.id = None;
        let pause = child.part.has_died(&cause);
        if pause.is_zero() {
            return self.handle(myself, Msg::Start(at), state).await;
        }
        myself.send_after(pause, move || Msg::Start(at));
        Ok(())
    }
}
