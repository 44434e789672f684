//! The audit actor, which seals events.
//!
//! Owns nothing but its rhythm: refusals by rate limits gather in `audit::hits`, events wait in the database; waits on one
//! connection at a time; dies only by a panic, and its successor goes on where the database stands.
//!
//! Each round writes the refusals whose time to gather is over, then gives every event that is committed by then its place
//! in the chain. Of several replicas one does it at a time, the others leave it to that one.

mod hits;
mod store;

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{Object, Pool};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::Current;
use super::supervisor::Child;
use crate::config;
use crate::database::lender::Lender;
use crate::domain::audit::KINDS;
use crate::domain::network::Network;
use crate::domain::pseudonym::Pseudonyms;
use crate::telemetry::Metrics;
use hits::Hits;
use store::{Batch, SEAL_MAX};

/// How long the end of the service waits for the last events to be written and sealed: what remains is sealed by others.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// Takes events that nobody waits for.
#[derive(Debug, Clone)]
pub struct AuditHandle {
    actor: Current<Msg>,
    hits: Arc<Hits>,
}

impl AuditHandle {
    /// Records that a rate limit of `route_class` refused a request from `network`. Never waits: what can't be kept is
    /// counted as dropped.
    pub fn limit_hit(&self, route_class: &'static str, network: Network) {
        self.hits.add(route_class, network, Instant::now());
    }

    /// Writes what has gathered and seals it, as far as that takes no longer than a service may take to end.
    pub async fn flush(&self) {
        let _ = self.actor.call(FLUSH_WITHIN, Msg::Flush).await;
    }

    /// The actor itself, for supervision from outside.
    #[must_use]
    pub fn cell(&self) -> Option<ActorCell> {
        self.actor.cell()
    }
}

/// The handle, and how its actor is started.
pub(super) fn part(
    pool: Pool,
    config: &config::Config,
    pseudonyms: &Arc<Pseudonyms>,
    metrics: &Arc<Metrics>,
) -> (AuditHandle, Child) {
    for kind in KINDS {
        metrics.audit_sealed.with_label_values(&[kind]);
    }
    let actor = Current::vacant();
    let hits = Arc::new(Hits::new(config.audit.limit_window, metrics.audit_dropped.clone()));
    let handle = AuditHandle { actor: actor.clone(), hits: Arc::clone(&hits) };
    let sealer = Arc::new(Sealer {
        pool,
        lender: Lender::new(&config.database, metrics),
        hits,
        pseudonyms: Arc::clone(pseudonyms),
        metrics: Arc::clone(metrics),
        every: config.audit.seal_every,
        timeout: config.database.timeout,
    });
    let child = Child::new("audit", move |supervisor| {
        let (actor, sealer) = (actor.clone(), Arc::clone(&sealer));
        async move {
            let (started, _) = Actor::spawn_linked(None, AuditActor, sealer, supervisor).await?;
            actor.set(started.clone());
            Ok(started.get_cell())
        }
    });
    (handle, child)
}

enum Msg {
    /// Time for another round.
    Seal,
    /// Another round now, with all that has gathered.
    Flush(RpcReplyPort<()>),
}

struct State {
    sealer: Arc<Sealer>,
    /// Whether the last round failed, which the log has been told then.
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
            self.sealer.metrics.audit_failures.inc();
        }
        self.failing = outcome.is_err();
    }
}

/// Seconds that an event may wait while it is another replica's turn: that one seals within one or two.
const STUCK_S: f64 = 30.0;

/// Which refusals a round writes.
#[derive(Debug, Clone, Copy)]
enum Gathered {
    /// Those that have gathered for as long as they should.
    Due,
    /// Every one.
    All,
}

struct Sealer {
    pool: Pool,
    lender: Lender,
    hits: Arc<Hits>,
    pseudonyms: Arc<Pseudonyms>,
    metrics: Arc<Metrics>,
    every: Duration,
    timeout: Duration,
}

impl Sealer {
    /// One round, or what went wrong.
    async fn round(&self, gathered: Gathered) -> Result<(), String> {
        let now = match gathered {
            Gathered::Due => Some(Instant::now()),
            Gathered::All => None,
        };
        while let Some(taken) = self.hits.take(now) {
            self.lend(async |client| store::append_hits(client, &taken.events(&self.pseudonyms)).await).await?;
            taken.done();
        }
        let waiting = self.lend(async |client| store::waiting(client).await).await?;
        self.metrics.audit_unsealed.set(waiting.count);
        self.metrics.audit_lag.set(waiting.oldest);
        let (mut more, mut held) = (waiting.count > 0, true);
        while more {
            let batch = self.lend(async |client| store::seal(client).await).await?;
            held = batch.held;
            more = self.tell(&batch);
        }
        if !held && waiting.oldest > STUCK_S {
            return Err("the end of the chain is locked by another session, or gone".to_owned());
        }
        Ok(())
    }

    /// Counts a sealed batch; says whether there may be more.
    fn tell(&self, batch: &Batch) -> bool {
        for kind in &batch.kinds {
            let label = KINDS.iter().find(|known| *known == kind).unwrap_or(&"other");
            self.metrics.audit_sealed.with_label_values(&[label]).inc();
        }
        let is_full = batch.kinds.len() >= SEAL_MAX;
        if batch.held && !is_full {
            self.metrics.audit_unsealed.set(0);
            self.metrics.audit_lag.set(0.0);
        }
        is_full
    }

    /// Lends `work` a connection for the configured time.
    async fn lend<T>(
        &self,
        work: impl AsyncFnOnce(&mut Object) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, String> {
        self.lender.lend(&self.pool, self.timeout, work).await.map_err(|error| error.to_string())
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
