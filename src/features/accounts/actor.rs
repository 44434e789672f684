//! The user actor.
//!
//! Owns the queues of writes that wait for a connection, and takes lookups from the inboxes where they gather; waits on
//! nothing, statements run in tasks beside it; dies only by a panic: queued writes are told so at once, lookups stay for its
//! successor.
//!
//! While as many statements are under way as are allowed, requests gather; when one ends, all that gathered leave as one.
//! No timer takes part: alone, a request goes at once, and every answer was read after its request came in.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use time::OffsetDateTime;
use tokio::task::yield_now;

use super::batches::Batches;
use super::handle::{Msg, NewHash, NewRow, Reply};
use super::inbox::{Lookups, SWEEP};
use crate::actors::batch::{Places, Queue};
use crate::actors::{Child, Current};
use crate::config;

/// How the actor is started.
pub(super) fn child(
    actor: Current<Msg>,
    config: config::Database,
    batches: Arc<Batches>,
    lookups: Arc<Lookups>,
) -> Child {
    Child::new("user", move |supervisor| {
        let (actor, arguments) = (actor.clone(), (config.clone(), Arc::clone(&batches), Arc::clone(&lookups)));
        async move {
            let (started, _) = Actor::spawn_linked(None, UserActor, arguments, supervisor).await?;
            actor.set(started.clone());
            // What its predecessor was told of, or was not there to be told of.
            let _ = started.cast(Msg::Gathered);
            Ok(started.get_cell())
        }
    })
}

struct State {
    batches: Arc<Batches>,
    batch_max: usize,
    reads: Places,
    writes: Places,
    /// Whose turn it is where both kinds of lookup wait for the same place.
    emails_next: bool,
    lookups: Arc<Lookups>,
    rows: Queue<NewRow, Reply<OffsetDateTime>>,
    hashes: Queue<NewHash, Reply<()>>,
}

impl State {
    /// Sends off what has gathered, for as long as there is a place for another statement.
    fn flush(&mut self) {
        let Lookups { ids, emails: addresses } = &*self.lookups;
        while !(ids.is_empty() && addresses.is_empty()) {
            let Some(place) = self.reads.take() else { break };
            let emails = ids.is_empty() || (self.emails_next && !addresses.is_empty());
            self.emails_next = !emails;
            let batches = Arc::clone(&self.batches);
            if emails {
                let batch = addresses.take(self.batch_max);
                tokio::spawn(async move { batches.find_by_email(batch, place).await });
            } else {
                let batch = ids.take(self.batch_max);
                tokio::spawn(async move { batches.find_by_id(batch, place).await });
            }
        }
        while !(self.rows.is_empty() && self.hashes.is_empty()) {
            let Some(place) = self.writes.take() else { break };
            let batches = Arc::clone(&self.batches);
            // Registrations have somebody waiting for them, new hashes have not; but these are rare, and go alone.
            if self.rows.is_empty() {
                let batch = self.hashes.take(1);
                tokio::spawn(async move { batches.replace_hashes(batch, place).await });
            } else {
                let batch = self.rows.take(self.batch_max);
                tokio::spawn(async move { batches.insert(batch, place).await });
            }
        }
    }
}

struct UserActor;

impl Actor for UserActor {
    type Msg = Msg;
    type State = State;
    type Arguments = (config::Database, Arc<Batches>, Arc<Lookups>);

    async fn pre_start(
        &self,
        myself: ActorRef<Msg>,
        (config, batches, lookups): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        // Ends with the actor.
        drop(myself.send_interval(SWEEP, || Msg::Sweep));
        let places = |count| {
            let myself = myself.clone();
            // An actor that is gone has no use for a place.
            Places::new(count, move || drop(myself.cast(Msg::Free)))
        };
        Ok(State {
            batches,
            batch_max: config.batch_max,
            reads: places(config.read_batches),
            writes: places(config.write_batches),
            emails_next: false,
            lookups,
            rows: Queue::default(),
            hashes: Queue::default(),
        })
    }

    async fn handle(&self, _: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Sweep => {
                state.lookups.sweep();
                return Ok(());
            }
            Msg::Insert(row, reply) => state.rows.push(row, reply),
            Msg::ReplaceHash(hash, reply) => state.hashes.push(hash, reply),
            // Whatever is ready to run first adds its lookup: nothing is waited for, and a statement answers twice as many.
            Msg::Gathered => yield_now().await,
            Msg::Free => {}
        }
        state.flush();
        Ok(())
    }
}
