//! The audit actor, which seals events.
//!
//! Owns only its rhythm: refusals by rate limits gather in `refusals`, events wait in the database. Waits on one
//! connection at a time. Dies only by a panic, and its successor goes on where the database stands.
//!
//! Each round writes the refusals that are due, then seals every event that is committed by then. One replica seals at
//! a time; the others skip their round.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::database::{Client, Pool};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio_postgres::Error;

use super::handle::Msg;
use super::metrics::AuditMetrics;
use super::refusals::Refusals;
use super::store::{self, Batch, SEAL_MAX};
use crate::actors::{Child, Current};
use crate::crypto::pseudonym::Pseudonyms;
use crate::database::lender::{LendError, lend};
use crate::features::event_kinds;

/// How the actor is started.
pub(super) fn child(actor: Current<Msg>, sealer: Arc<Sealer>) -> Child {
    Child::new("audit", move |supervisor| {
        let (actor, sealer) = (actor.clone(), Arc::clone(&sealer));
        async move {
            let (started, _) = Actor::spawn_linked(None, AuditActor, sealer, supervisor).await?;
            actor.set(started.clone());
            Ok(started.get_cell())
        }
    })
}

struct State {
    sealer: Arc<Sealer>,
    /// Whether the last round failed, which was logged then.
    failing: bool,
}

impl State {
    async fn round(&mut self, gathered: Gathered) {
        let outcome = self.sealer.round(gathered).await;
        match &outcome {
            Ok(()) if self.failing => tracing::info!("audit events are sealed again"),
            Err(cause) if !self.failing => tracing::warn!(cause, "audit events cannot be sealed for now"),
            _ => {}
        }
        if outcome.is_err() {
            self.sealer.metrics.failures.inc();
        }
        self.failing = outcome.is_err();
    }
}

/// Seconds that an event may wait while another replica seals, which takes that one a second or two.
const STUCK_S: f64 = 30.0;

/// Which refusals a round writes.
#[derive(Debug, Clone, Copy)]
enum Gathered {
    /// Refusals that have gathered for the configured time.
    Due,
    /// All refusals.
    All,
}

pub(super) struct Sealer {
    pub(super) pool: Pool,
    pub(super) refusals: Arc<Refusals>,
    pub(super) pseudonyms: Arc<Pseudonyms>,
    pub(super) metrics: AuditMetrics,
    pub(super) every: Duration,
    pub(super) timeout: Duration,
}

impl Sealer {
    /// Runs one round; returns the cause of a failure.
    async fn round(&self, gathered: Gathered) -> Result<(), String> {
        let now = match gathered {
            Gathered::Due => Some(Instant::now()),
            Gathered::All => None,
        };
        while let Some(taken) = self.refusals.take(now) {
            self.lend(async |client| store::append_refusals(client, &taken.events(&self.pseudonyms)).await).await?;
            taken.done();
        }
        let waiting = self.lend(async |client| store::waiting(client).await).await?;
        self.metrics.unsealed.set(waiting.count);
        self.metrics.lag.set(waiting.oldest);
        let (mut more, mut held) = (waiting.count > 0, true);
        while more {
            let batch = self.lend(async |client| store::seal(client).await).await?;
            held = batch.held;
            more = self.count(&batch);
        }
        if !held && waiting.oldest > STUCK_S {
            return Err("the end of the chain is locked by another session, or gone".to_owned());
        }
        Ok(())
    }

    /// Counts a sealed batch; returns whether there may be more.
    fn count(&self, batch: &Batch) -> bool {
        for kind in &batch.kinds {
            let label = event_kinds().find(|known| known == kind).unwrap_or("other");
            self.metrics.sealed.with_label_values(&[label]).inc();
        }
        let is_full = batch.kinds.len() >= SEAL_MAX;
        if batch.held && !is_full {
            self.metrics.unsealed.set(0);
            self.metrics.lag.set(0.0);
        }
        is_full
    }

    /// Lends `work` a connection for the configured time.
    async fn lend<T>(&self, work: impl AsyncFnOnce(&mut Client) -> Result<T, Error>) -> Result<T, String> {
        let work = async |client: &mut Client| Ok(work(client).await?);
        lend(&self.pool, self.timeout, work).await.map_err(|error: LendError| error.to_string())
    }
}

struct AuditActor;

impl Actor for AuditActor {
    type Msg = Msg;
    type State = State;
    type Arguments = Arc<Sealer>;

    async fn pre_start(&self, myself: ActorRef<Msg>, sealer: Arc<Sealer>) -> Result<State, ActorProcessingErr> {
        myself.send_after(sealer.every, || Msg::Seal);
        Ok(State { sealer, failing: false })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Seal => {
                state.round(Gathered::Due).await;
                myself.send_after(state.sealer.every, || Msg::Seal);
            }
            Msg::Flush(reply) => {
                state.round(Gathered::All).await;
                let _ = reply.send(());
            }
        }
        Ok(())
    }
}
