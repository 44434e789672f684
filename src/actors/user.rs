//! The user actor.
//!
//! Owns the queues of writes that wait for a connection, and takes lookups from the inboxes where they gather; waits on
//! nothing, statements run in tasks beside it; dies only by a panic: queued writes are told so at once, lookups stay for its
//! successor.
//!
//! While as many statements are under way as are allowed, requests gather; when one ends, all that gathered leave as one.
//! No timer takes part: alone, a request goes at once, and every answer was read after its request came in.

mod batch;
mod inbox;
mod store;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort};
use thiserror::Error;
use time::OffsetDateTime;
use tokio::task::yield_now;
use uuid::Uuid;

use super::batch::{Places, Queue};
use super::supervisor::Child;
use super::{CallError, Current};
use crate::config;
use crate::database::statements::{Statements, Unavailable};
use crate::domain::email::Email;
use crate::domain::name::Name;
use crate::domain::network::Network;
use crate::domain::pseudonym::Pseudonyms;
use crate::domain::user::{Account, PasswordHash, User};
use crate::telemetry::Metrics;
use batch::Batches;
use inbox::{Lookups, SWEEP};

/// On top of `database.timeout_ms`: the batch answers for itself when that is over, and should be heard.
const GRACE: Duration = Duration::from_millis(500);

/// Finds and stores users.
#[derive(Debug, Clone)]
pub struct UserHandle {
    actor: Current<Msg>,
    lookups: Arc<Lookups>,
    timeout: Duration,
    pseudonyms: Arc<Pseudonyms>,
}

/// Why a user could not be found or stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UserError {
    /// Another user has the address.
    #[error("the email is taken")]
    EmailTaken,
    /// The database did not answer, refused, or took too long. A write may or may not have happened.
    #[error("the database is not available")]
    Unavailable,
    /// No answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// A user to store.
#[derive(Debug)]
pub struct Registration {
    /// Display name.
    pub name: Name,
    /// Address.
    pub email: Email,
    /// Hash of the chosen password.
    pub password_hash: PasswordHash,
    /// Where the registration comes from.
    pub network: Network,
}

impl From<Unavailable> for UserError {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

impl UserHandle {
    /// The user of this id.
    ///
    /// # Errors
    /// [`UserError::Unavailable`], [`UserError::Call`].
    pub async fn find_by_id(&self, id: Uuid) -> Result<Option<User>, UserError> {
        self.lookups.ids.find(id, || self.tell()).await
    }

    /// The account of this address.
    ///
    /// # Errors
    /// [`UserError::Unavailable`], [`UserError::Call`].
    pub async fn find_by_email(&self, email: Email) -> Result<Option<Account>, UserError> {
        self.lookups.emails.find(email, || self.tell()).await
    }

    /// Tells the actor of the first lookup of those that will have gathered when it comes to them. Where there is no actor,
    /// the next one looks for itself.
    fn tell(&self) {
        if let Some(actor) = self.actor.load() {
            let _ = actor.cast(Msg::Gathered);
        }
    }

    /// Stores a new user; the table's UNIQUE constraint alone decides who comes first.
    ///
    /// # Errors
    /// Any [`UserError`].
    pub async fn insert(&self, registration: Registration) -> Result<User, UserError> {
        let Registration { name, email, password_hash, network } = registration;
        let id = Uuid::new_v4();
        let told = self.told(&email, network);
        let row = NewRow { id, name: name.clone(), email: email.clone(), password_hash, told };
        let created_at = self.actor.call(self.timeout, |reply| Msg::Insert(row, reply)).await??;
        Ok(User { id, name, email, created_at })
    }

    /// Puts `new` in the place of the account's hash, unless that has changed since it was read. The login that led to it
    /// came from `network`.
    ///
    /// # Errors
    /// [`UserError::Unavailable`], [`UserError::Call`].
    pub async fn replace_hash(&self, account: Account, new: PasswordHash, network: Network) -> Result<(), UserError> {
        let Account { user, password_hash: old } = account;
        let hash = NewHash { id: user.id, old, new, told: self.told(&user.email, network) };
        self.actor.call(self.timeout, |reply| Msg::ReplaceHash(hash, reply)).await?
    }

    fn told(&self, email: &Email, network: Network) -> Told {
        Told { email: self.pseudonyms.email(email.as_str()), source: self.pseudonyms.network(network) }
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
    config: &config::Database,
    pseudonyms: &Arc<Pseudonyms>,
    metrics: &Arc<Metrics>,
) -> (UserHandle, Child) {
    let actor = Current::vacant();
    let pseudonyms = Arc::clone(pseudonyms);
    let timeout = config.timeout + GRACE;
    let lookups = Arc::new(Lookups::new(timeout));
    let handle = UserHandle { actor: actor.clone(), lookups: Arc::clone(&lookups), timeout, pseudonyms };
    let batches = Arc::new(Batches { pool, statements: Statements::new(config, metrics) });
    let config = config.clone();
    let child = Child::new("user", move |supervisor| {
        let (actor, arguments) = (actor.clone(), (config.clone(), Arc::clone(&batches), Arc::clone(&lookups)));
        async move {
            let (started, _) = Actor::spawn_linked(None, UserActor, arguments, supervisor).await?;
            actor.set(started.clone());
            // What its predecessor was told of, or was not there to be told of.
            let _ = started.cast(Msg::Gathered);
            Ok(started.get_cell())
        }
    });
    (handle, child)
}

type Reply<T> = RpcReplyPort<Result<T, UserError>>;

enum Msg {
    /// There are lookups.
    Gathered,
    Insert(NewRow, Reply<OffsetDateTime>),
    ReplaceHash(NewHash, Reply<()>),
    /// A statement's place is free again, and was missed.
    Free,
    /// It is time to look for lookups whose time is over.
    Sweep,
}

/// A row to insert.
struct NewRow {
    id: Uuid,
    name: Name,
    email: Email,
    password_hash: PasswordHash,
    told: Told,
}

/// A hash to put in the place of another.
struct NewHash {
    id: Uuid,
    old: PasswordHash,
    new: PasswordHash,
    told: Told,
}

/// What the event of a change tells of addresses.
struct Told {
    email: Option<String>,
    source: Option<String>,
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
