//! The hasher pool: a factory of hasher actors.
//!
//! Owns the queue of password jobs; a hasher waits on one computation at a time, on a thread that is not tokio's; the factory
//! replaces a hasher that dies, and the supervisor replaces the factory. A job that is refused, dropped or lost to a crash
//! costs its caller an error, never a hang.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::factory::{
    DiscardHandler, DiscardMode, DiscardReason, DiscardSettings, Factory, FactoryArguments, FactoryMessage, Job,
    JobOptions, Worker, WorkerBuilder, WorkerId, routing,
};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::admission::Permit;
use super::handle::{Class, HasherError};
use super::metrics::HashMetrics;
use super::queue::Waiting;
use super::verification::Begun;
use crate::actors::{Child, Current};
use crate::config;
use crate::hashing::Digest;
use crate::hashing::engine::{self, Engines};

/// The factory of the hashers.
type Pool = Factory<Class, Msg, (), Hasher, routing::QueuerRouting<Class, Msg>, Waiting>;

/// The messages of the factory.
pub(super) type FactoryMsg = FactoryMessage<Class, Msg>;

type Arguments = FactoryArguments<Class, Msg, (), Hasher, routing::QueuerRouting<Class, Msg>, Waiting>;

/// A job's message to the factory, which drops the job if it waits for longer than `max_wait`.
pub(super) fn dispatch(class: Class, msg: Msg, max_wait: Duration) -> FactoryMsg {
    FactoryMessage::Dispatch(Job { key: class, msg, options: JobOptions::new(Some(max_wait)), accepted: None })
}

/// How the factory is started.
pub(super) fn child(
    factory: Current<FactoryMsg>,
    engines: Engines,
    config: config::Hashing,
    metrics: Arc<HashMetrics>,
) -> Child {
    Child::new("hasher", move |supervisor| {
        let arguments = arguments(&engines, &config, &metrics);
        let factory = factory.clone();
        async move {
            let (started, _) = Actor::spawn_linked(None, Pool::default(), arguments, supervisor).await?;
            factory.set(started.clone());
            Ok(started.get_cell())
        }
    })
}

/// The arguments of a factory: as many hashers as there are lanes, and one queue.
fn arguments(engines: &Engines, config: &config::Hashing, metrics: &Arc<HashMetrics>) -> Arguments {
    let hasher = Hasher { engines: engines.clone(), metrics: Arc::clone(metrics) };
    let refusals = Refusals { metrics: Arc::clone(metrics), retry_after: config.max_wait };
    let limit = config.queue_max;
    FactoryArguments::builder()
        .worker_builder(Box::new(hasher) as Box<dyn WorkerBuilder<Hasher, ()>>)
        .num_initial_workers(engines.lanes())
        .router(routing::QueuerRouting::default())
        .queue(Waiting::new(Arc::clone(metrics)))
        .discard_handler(Arc::new(refusals) as Arc<dyn DiscardHandler<Class, Msg>>)
        .discard_settings(DiscardSettings::Static { limit, mode: DiscardMode::Newest })
        .build()
}

/// A job on its way to a hasher.
pub(crate) struct Msg {
    pub(super) job: engine::Job,
    pub(super) begun: Begun,
    pub(super) arrived: Instant,
    pub(super) permit: Permit,
    /// Taken by the code that answers.
    pub(super) reply: Option<RpcReplyPort<Result<Digest, HasherError>>>,
}

impl Msg {
    /// Whether the caller waits no longer.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.as_ref().is_none_or(RpcReplyPort::is_closed)
    }
}

pub(super) const BUSY_DEADLINE: &str = "deadline";
pub(super) const BUSY_FULL: &str = "queue_full";
pub(super) const BUSY_LATE: &str = "waited_too_long";
pub(super) const BUSY_STOPPING: &str = "stopping";

/// Answers the jobs that the factory discards.
struct Refusals {
    metrics: Arc<HashMetrics>,
    retry_after: Duration,
}

impl DiscardHandler<Class, Msg> for Refusals {
    fn discard(&self, reason: DiscardReason, job: &mut Job<Class, Msg>) {
        let label = match reason {
            DiscardReason::Loadshed | DiscardReason::RateLimited => BUSY_FULL,
            DiscardReason::TtlExpired => BUSY_LATE,
            DiscardReason::Shutdown => BUSY_STOPPING,
        };
        self.metrics.refusals.with_label_values(&[label]).inc();
        if let Some(reply) = job.msg.reply.take() {
            let _ = reply.send(Err(HasherError::Busy { retry_after: self.retry_after }));
        }
    }
}

/// A hasher, which is also the builder of others.
#[derive(Clone)]
pub(super) struct Hasher {
    engines: Engines,
    metrics: Arc<HashMetrics>,
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
        let Msg { job, begun, arrived, mut permit, reply: Some(reply) } = msg else { return Ok(key) };
        if reply.is_closed() {
            self.metrics.abandoned.inc();
            return Ok(key);
        }
        self.metrics.wait.observe(arrived.elapsed().as_secs_f64());
        permit.run();
        begun.set();
        let started = Instant::now();
        let digest = self.engines.submit(job).await;
        self.metrics.duration.observe(started.elapsed().as_secs_f64());
        drop(permit);
        let _ = reply.send(digest.map_err(|_| HasherError::Failed));
        Ok(key)
    }
}
