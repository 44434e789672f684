//! The hasher pool: a factory of hasher actors.
//!
//! Owns the queue of password jobs; a hasher waits on one computation at a time, on a thread that is not tokio's; the factory
//! replaces a hasher that dies, and the supervisor replaces the factory. A job that is refused, dropped or lost to a crash
//! costs its caller an error, never a hang.

mod queue;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::factory::{
    DiscardHandler, DiscardMode, DiscardReason, DiscardSettings, Factory, FactoryArguments, FactoryMessage, Job,
    JobOptions, Worker, WorkerBuilder, WorkerId, routing,
};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort};
use thiserror::Error;

use super::supervisor::Child;
use super::{CallError, Current};
use crate::config;
use crate::domain::password::Password;
use crate::domain::user::PasswordHash;
use crate::hashing::engine::{self, Engines};
use crate::hashing::mcf::Mcf;
use crate::hashing::{COST_MAX, Digest, Salt};
use crate::telemetry::{Metrics, seconds};
use queue::Waiting;

/// On top of the longest wait: the slowest hash that is accepted (cost 15, all lanes busy, a slow core) and then some.
const COMPUTE_TIMEOUT: Duration = Duration::from_mins(1);

/// Hashes and verifies passwords.
#[derive(Debug, Clone)]
pub struct HasherHandle {
    factory: Current<FactoryMessage<Class, Msg>>,
    cost: u32,
    max_wait: Duration,
}

/// Whether a password is the one that was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Match {
        /// The hash is of a lower cost than new ones are.
        outdated: bool,
    },
    /// It isn't.
    Mismatch,
}

/// Why a password could not be hashed or verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HasherError {
    /// Too many jobs wait already, or this one waited for too long.
    #[error("too many password checks are waiting")]
    Busy {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The operating system gave no random bytes, or the computation failed.
    #[error("the hash could not be computed")]
    Failed,
    /// No answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Which of two waiting jobs goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// A login.
    Verify,
    /// A registration, or a hash made anew.
    Hash,
}

impl HasherHandle {
    /// Hashes `password` with a new salt at the configured cost.
    ///
    /// # Errors
    /// Any [`HasherError`].
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, HasherError> {
        let mut salt = Salt::default();
        getrandom::fill(&mut salt).map_err(|_| HasherError::Failed)?;
        let digest = self.compute(Class::Hash, password, salt, self.cost).await?;
        Ok(PasswordHash(Mcf::new(self.cost, salt, digest).to_string()))
    }

    /// Compares `password` with a stored hash, or with a decoy that costs the same where there is none, so that the time
    /// taken does not tell whether the account exists. A stored string that is no usable hash matches nothing.
    ///
    /// # Errors
    /// Any [`HasherError`].
    pub async fn verify(&self, password: Password, stored: Option<&PasswordHash>) -> Result<Verdict, HasherError> {
        let usable = stored.and_then(|stored| match Mcf::parse(&stored.0) {
            Ok(hash) if hash.cost <= COST_MAX => Some(hash),
            Ok(hash) => {
                tracing::warn!(cost = hash.cost, "a stored hash costs more than {COST_MAX} and is refused");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "a stored hash is not a bcrypt hash");
                None
            }
        });
        let hash = usable.filter(|_| password.fits_bcrypt());
        let (cost, salt) = hash.map_or((self.cost, Salt::default()), |hash| (hash.cost, hash.salt));
        let digest = self.compute(Class::Verify, password, salt, cost).await?;
        Ok(match hash {
            Some(hash) if hash.matches(&digest) => Verdict::Match { outdated: hash.cost < self.cost },
            _ => Verdict::Mismatch,
        })
    }

    /// The factory itself, for supervision from outside.
    #[must_use]
    pub fn cell(&self) -> Option<ActorCell> {
        self.factory.cell()
    }

    async fn compute(&self, class: Class, password: Password, salt: Salt, cost: u32) -> Result<Digest, HasherError> {
        let timeout = self.max_wait + COMPUTE_TIMEOUT;
        let job = engine::Job { password, salt, cost };
        let dispatch = |reply| {
            let msg = Msg { job, arrived: Instant::now(), reply: Some(reply) };
            let options = JobOptions::new(Some(self.max_wait));
            FactoryMessage::Dispatch(Job { key: class, msg, options, accepted: None })
        };
        self.factory.call(timeout, dispatch).await?
    }
}

/// The handle, and how its factory is started.
pub(super) fn part(engines: Engines, config: &config::Hashing, metrics: &Arc<Metrics>) -> (HasherHandle, Child) {
    let factory = Current::vacant();
    let handle = HasherHandle { factory: factory.clone(), cost: config.cost, max_wait: config.max_wait };
    let (config, metrics) = (config.clone(), Arc::clone(metrics));
    for reason in [BUSY_FULL, BUSY_LATE, BUSY_STOPPING] {
        metrics.hash_refusals.with_label_values(&[reason]);
    }
    let child = Child::new("hasher", move |supervisor| {
        let hasher = Hasher { engines: engines.clone(), metrics: Arc::clone(&metrics) };
        let refusals = Refusals { metrics: Arc::clone(&metrics), retry_after: config.max_wait };
        let queue = Waiting::new(Arc::clone(&metrics));
        let (factory, hashers, limit) = (factory.clone(), config.engines, config.queue_max);
        async move {
            let arguments = FactoryArguments::builder()
                .worker_builder(Box::new(hasher) as Box<dyn WorkerBuilder<Hasher, ()>>)
                .num_initial_workers(hashers)
                .router(routing::QueuerRouting::default())
                .queue(queue)
                .discard_handler(Arc::new(refusals) as Arc<dyn DiscardHandler<Class, Msg>>)
                .discard_settings(DiscardSettings::Static { limit, mode: DiscardMode::Newest })
                .build();
            let (started, _) = Actor::spawn_linked(None, Pool::default(), arguments, supervisor).await?;
            factory.set(started.clone());
            Ok(started.get_cell())
        }
    });
    (handle, child)
}

type Pool = Factory<Class, Msg, (), Hasher, routing::QueuerRouting<Class, Msg>, Waiting>;

pub(crate) struct Msg {
    job: engine::Job,
    arrived: Instant,
    /// Taken by whoever answers.
    reply: Option<RpcReplyPort<Result<Digest, HasherError>>>,
}

impl Msg {
    /// Whether the caller waits no longer.
    fn is_abandoned(&self) -> bool {
        self.reply.as_ref().is_none_or(RpcReplyPort::is_closed)
    }
}

const BUSY_FULL: &str = "queue_full";
const BUSY_LATE: &str = "waited_too_long";
const BUSY_STOPPING: &str = "stopping";

/// Answers the jobs that the factory discards.
struct Refusals {
    metrics: Arc<Metrics>,
    retry_after: Duration,
}

impl DiscardHandler<Class, Msg> for Refusals {
    fn discard(&self, reason: DiscardReason, job: &mut Job<Class, Msg>) {
        let label = match reason {
            DiscardReason::Loadshed | DiscardReason::RateLimited => BUSY_FULL,
            DiscardReason::TtlExpired => BUSY_LATE,
            DiscardReason::Shutdown => BUSY_STOPPING,
        };
        self.metrics.hash_refusals.with_label_values(&[label]).inc();
        if let Some(reply) = job.msg.reply.take() {
            let _ = reply.send(Err(HasherError::Busy { retry_after: self.retry_after }));
        }
    }
}

/// One hasher, and the builder of its likes.
#[derive(Clone)]
struct Hasher {
    engines: Engines,
    metrics: Arc<Metrics>,
}

impl WorkerBuilder<Hasher, ()> for Hasher {
    fn build(&mut self, _: WorkerId) -> (Hasher, ()) {
        (self.clone(), ())
    }
}

impl Worker for Hasher {
    type Key = Class;
    type Message = Msg;
    type Arguments = ();
    type State = ();

    async fn pre_start(
        &self,
        _: WorkerId,
        _: &ActorRef<FactoryMessage<Class, Msg>>,
        (): (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: WorkerId,
        _: &ActorRef<FactoryMessage<Class, Msg>>,
        Job { key, msg, .. }: Job<Class, Msg>,
        (): &mut (),
    ) -> Result<Class, ActorProcessingErr> {
        let Msg { job, arrived, reply: Some(reply) } = msg else { return Ok(key) };
        self.metrics.hash_wait.observe(seconds(arrived.elapsed()));
        let _busy = Busy::new(&self.metrics);
        let started = Instant::now();
        let digest = self.engines.submit(job).await;
        self.metrics.hash_duration.observe(seconds(started.elapsed()));
        let _ = reply.send(match digest {
            Ok(Ok(digest)) => Ok(digest),
            Ok(Err(_)) | Err(_) => Err(HasherError::Failed),
        });
        Ok(key)
    }
}

/// Counts a busy hasher, until it is done or killed.
struct Busy<'a>(&'a Metrics);

impl<'a> Busy<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.hash_lanes_busy.inc();
        Self(metrics)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.hash_lanes_busy.dec();
    }
}
