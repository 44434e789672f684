//! Hashes and verifies passwords, for others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::admission::Admission;
use super::metrics::HashMetrics;
use super::pool::{BUSY_DEADLINE, FactoryMsg, Msg, dispatch};
use super::types::Password;
use super::verification::Begun;
use crate::actors::{CallError, Cell, Current};
use crate::domain::network::Standing;
use crate::hashing::engine::{self, Engines};
use crate::hashing::mcf::{self, Cost, Mcf, McfError};
use crate::hashing::{COMPUTE_TIMEOUT, COST_MAX, Digest, PasswordHash, Salt};

pub use super::verification::Verification;

/// Hashes and verifies passwords.
#[derive(Debug, Clone)]
pub struct HasherHandle {
    pub(super) factory: Current<FactoryMsg>,
    pub(super) cost: Cost,
    pub(super) max_wait: Duration,
    pub(super) admission: Arc<Admission>,
    pub(super) engines: Engines,
    pub(super) metrics: Arc<HashMetrics>,
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
        /// How long to wait before a retry.
        retry_after: Duration,
    },
    /// The operating system gave no random bytes, or the computation failed.
    #[error("the hash could not be computed")]
    Failed,
    /// No answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// The class of a job, by which queue.rs orders waiting jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// A login from a network that the account knows.
    Known,
    /// Any other login.
    Stranger,
    /// A registration, or the renewal of a hash.
    Hash,
}

impl From<Standing> for Class {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Known => Self::Known,
            Standing::Stranger => Self::Stranger,
        }
    }
}

impl HasherHandle {
    /// Hashes `password` with a new salt at the configured cost.
    ///
    /// # Errors
    /// Any [`HasherError`].
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, HasherError> {
        let mut salt = Salt::default();
        getrandom::fill(&mut salt).map_err(|_| HasherError::Failed)?;
        let job = engine::Job { password: password.into_inner(), salt, cost: self.cost, pad_to: self.cost };
        let digest = self.compute(Class::Hash, job, Begun::default()).await?;
        Ok(PasswordHash(Mcf::new(self.cost, salt, digest).encode()))
    }

    /// Compares `password` with the stored hash, or with a decoy of the same cost where there is none, so that the time
    /// taken does not reveal whether the account exists. A stored string that is no usable hash matches nothing. No
    /// work is done until the verdict is awaited.
    #[must_use]
    pub fn verify(&self, password: Password, stored: Option<&PasswordHash>, standing: Standing) -> Verification {
        Verification::new(self.clone(), password, stored.map(usable).transpose(), standing.into())
    }

    /// Refuses a login whose wait would be too long, before any work is done for it. `standing` is called only where a
    /// stranger would be refused.
    ///
    /// # Errors
    /// [`HasherError::Busy`].
    pub fn expect_room(&self, standing: impl FnOnce() -> Standing) -> Result<(), HasherError> {
        let Some(wait) = self.overlong_wait(Class::Stranger) else { return Ok(()) };
        match standing() {
            Standing::Stranger => Err(self.busy(wait)),
            Standing::Known => self.overlong_wait(Class::Known).map_or(Ok(()), |wait| Err(self.busy(wait))),
        }
    }

    /// Whether a stranger's login that arrived now would be refused.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.overlong_wait(Class::Stranger).is_some()
    }

    /// The wait of a job that arrived now, if it would be refused for that.
    fn overlong_wait(&self, class: Class) -> Option<Duration> {
        let wait = self.admission.estimate(class);
        self.admission.is_too_long(wait).then_some(wait)
    }

    /// Updates the gauges of the pool.
    pub fn report(&self) {
        self.metrics.wait_estimate.set(self.admission.estimate(Class::Stranger).as_secs_f64());
        self.metrics.lanes_busy.set(i64::try_from(self.admission.busy()).unwrap_or(i64::MAX));
        #[expect(clippy::cast_precision_loss, reason = "a rate is far below 2^53, up to where a float is exact")]
        self.metrics.capacity.set(self.engines.rounds_per_second() as f64 / self.cost.rounds() as f64);
    }

    /// The factory itself, for supervision from outside.
    #[must_use]
    pub fn cell(&self) -> Option<Cell> {
        self.factory.cell()
    }

    pub(super) async fn compare(
        &self,
        password: Password,
        stored: Result<Option<Mcf>, Unusable>,
        class: Class,
        begun: Begun,
    ) -> Result<Verdict, HasherError> {
        let (hash, unusable) = match stored {
            Ok(hash) => (hash, None),
            Err(unusable) => (None, Some(unusable)),
        };
        let (cost, salt) = hash.as_ref().map_or((self.cost, Salt::default()), |hash| (hash.cost, hash.salt));
        // Padded: otherwise the shorter time of a cheap hash would reveal that the account exists.
        let job = engine::Job { password: password.into_inner(), salt, cost, pad_to: self.cost.max(cost) };
        // Logged while the hash is computed: before or after it, the log line would add to the time, and reveal that
        // the account exists.
        let log = async { unusable.into_iter().for_each(Unusable::log) };
        let (digest, ()) = tokio::join!(self.compute(class, job, begun), log);
        let digest = digest?;
        Ok(match hash {
            Some(hash) if hash.verify(&digest) == mcf::Verdict::Match => {
                Verdict::Match { outdated: hash.cost < self.cost }
            }
            _ => Verdict::Mismatch,
        })
    }

    async fn compute(&self, class: Class, job: engine::Job, begun: Begun) -> Result<Digest, HasherError> {
        let permit = self.admission.admit(class, job.rounds()).map_err(|wait| self.busy(wait))?;
        let timeout = self.max_wait + COMPUTE_TIMEOUT;
        let send = |reply| {
            let msg = Msg { job, begun, arrived: Instant::now(), permit, reply: Some(reply) };
            dispatch(class, msg, self.max_wait)
        };
        self.factory.call(timeout, send).await?
    }

    /// Counts a refusal for its wait.
    fn busy(&self, wait: Duration) -> HasherError {
        self.metrics.refusals.with_label_values(&[BUSY_DEADLINE]).inc();
        HasherError::Busy { retry_after: wait }
    }
}

/// Parses a stored hash, and refuses one whose cost is too high to compute.
fn usable(stored: &PasswordHash) -> Result<Mcf, Unusable> {
    let hash: Mcf = stored.0.parse()?;
    if hash.cost.log_rounds() > COST_MAX { Err(Unusable::Costly(hash.cost)) } else { Ok(hash) }
}

/// Why a stored string matches no password.
#[derive(Debug, Clone, Copy, Error)]
pub(super) enum Unusable {
    #[error("a stored hash costs more than {COST_MAX} and is refused: {}", .0.log_rounds())]
    Costly(Cost),
    #[error("a stored hash is not a bcrypt hash: {0}")]
    Broken(#[from] McfError),
}

impl Unusable {
    fn log(self) {
        tracing::warn!("{self}");
    }
}
