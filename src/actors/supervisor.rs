//! The supervisor.
//!
//! Owns the parts of the service; waits on nothing; dies when the service stops, and its children with it. It starts
//! them, links them, and starts a new one in the place of one that died. It does nothing else.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};

use crate::telemetry::Metrics;

/// Pause before another try where a child could not even start.
const RETRY_AFTER: Duration = Duration::from_millis(100);

type Spawning = Pin<Box<dyn Future<Output = Result<ActorCell, SpawnErr>> + Send>>;

/// How to start one part of the service, as often as needed.
pub(super) struct Child {
    name: &'static str,
    spawn: Box<dyn Fn(ActorCell) -> Spawning + Send + Sync>,
}

impl Child {
    /// `spawn` starts the actor linked to the given supervisor and tells its handle of it.
    pub(super) fn new<F>(name: &'static str, spawn: impl Fn(ActorCell) -> F + Send + Sync + 'static) -> Self
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
pub(super) async fn start(children: Vec<Child>, metrics: Arc<Metrics>) -> Result<ActorCell, SpawnErr> {
    let (supervisor, _) = Actor::spawn(None, Supervisor, (children, metrics)).await?;
    Ok(supervisor.get_cell())
}

enum Msg {
    /// Try again to start the child at this place.
    Start(usize),
}

struct State {
    children: Vec<(Child, Option<ActorId>)>,
    metrics: Arc<Metrics>,
}

struct Supervisor;

impl Actor for Supervisor {
    type Msg = Msg;
    type State = State;
    type Arguments = (Vec<Child>, Arc<Metrics>);

    async fn pre_start(
        &self,
        myself: ActorRef<Msg>,
        (specs, metrics): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let mut children = Vec::with_capacity(specs.len());
        for child in specs {
            metrics.actor_restarts.with_label_values(&[child.name]);
            let started = (child.spawn)(myself.get_cell()).await?;
            children.push((child, Some(started.get_id())));
        }
        Ok(State { children, metrics })
    }

    async fn handle(
        &self,
        myself: ActorRef<Msg>,
        Msg::Start(at): Msg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let Some((child, id)) = state.children.get_mut(at) else { return Ok(()) };
        match (child.spawn)(myself.get_cell()).await {
            Ok(started) => *id = Some(started.get_id()),
            Err(error) => {
                tracing::error!(actor = child.name, %error, "an actor does not start");
                myself.send_after(RETRY_AFTER, move || Msg::Start(at));
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
        let Some(at) = state.children.iter().position(|(_, id)| id.is_some() && *id == dead) else { return Ok(()) };
        if let Some((child, id)) = state.children.get_mut(at) {
            tracing::error!(actor = child.name, cause, "an actor died and is brought back");
            state.metrics.actor_restarts.with_label_values(&[child.name]).inc();
            *id = None;
        }
        self.handle(myself, Msg::Start(at), state).await
    }
}
