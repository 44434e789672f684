//! Requests that gather, and the statement that answers a batch of them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_postgres::{Object, Pool};
use ractor::Message;
use time::OffsetDateTime;
use tokio::time::timeout;
use uuid::Uuid;

use super::store::Store;
use super::{Ended, NewHash, NewRow, Reply, UserError};
use crate::config;
use crate::database::is_of_a_lost_server;
use crate::domain::email::Email;
use crate::domain::user::{Account, User};
use crate::telemetry::{Metrics, seconds};

/// How long a standby that did not answer is left alone, and the primary asked in its place.
const REPLICA_RESTS: Duration = Duration::from_secs(5);

/// Requests of one kind that wait for a statement.
pub(super) struct Queue<K, T> {
    waiting: VecDeque<(K, Reply<T>)>,
}

impl<K, T> Default for Queue<K, T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new() }
    }
}

/// Requests of one kind that one statement answers.
type Batch<K, T> = Vec<(K, Reply<T>)>;

impl<K, T: Message> Queue<K, T> {
    pub(super) fn push(&mut self, key: K, reply: Reply<T>) {
        self.waiting.push_back((key, reply));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The first `max` requests.
    pub(super) fn take(&mut self, max: usize) -> Batch<K, T> {
        let count = self.waiting.len().min(max);
        self.waiting.drain(..count).collect()
    }
}

/// Runs statements and hands their answers out.
pub(super) struct Statements {
    pub(super) pool: Pool,
    pub(super) replica: Option<Replica>,
    pub(super) mode: config::Statements,
    pub(super) timeout: Duration,
    pub(super) metrics: Arc<Metrics>,
}

/// A standby, and since when it has not answered.
pub(super) struct Replica {
    pool: Pool,
    failed: Mutex<Option<Instant>>,
}

impl Replica {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, failed: Mutex::default() }
    }

    fn failed(&self) -> MutexGuard<'_, Option<Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_worth_asking(&self) -> bool {
        self.failed().is_none_or(|since| since.elapsed() > REPLICA_RESTS)
    }
}

impl Statements {
    pub(super) async fn find_by_id(&self, batch: Batch<Uuid, Option<User>>, _ended: Ended) {
        let mut ids: Vec<_> = batch.iter().map(|(id, _)| *id).collect();
        let mut found = self.find_at_replica(&ids).await;
        // A standby lags: who is missing there may have registered just now.
        ids.retain(|id| !found.contains_key(id));
        let rest = if ids.is_empty() {
            Ok(())
        } else {
            let found_here = self.run("find_by_id", ids.len(), async |store| store.users_by_id(&ids).await).await;
            found_here.map(|users| found.extend(users))
        };
        for (id, reply) in batch {
            let user = found.get(&id).cloned();
            let _ = reply.send(if user.is_some() { Ok(user) } else { rest.map(|()| None) });
        }
    }

    /// Those of `ids` that the standby knows: none where there is no standby, or it is away.
    async fn find_at_replica(&self, ids: &[Uuid]) -> HashMap<Uuid, User> {
        let Some(replica) = self.replica.as_ref().filter(|replica| replica.is_worth_asking()) else {
            return HashMap::new();
        };
        let lookup = async |store: Store<'_>| store.users_by_id(ids).await;
        let found = self.run_at(&replica.pool, "find_by_id_at_replica", ids.len(), lookup).await;
        *replica.failed() = found.is_err().then(Instant::now);
        found.unwrap_or_default()
    }

    pub(super) async fn find_by_email(&self, batch: Batch<Email, Option<Account>>, _ended: Ended) {
        let emails: Vec<_> = batch.iter().map(|(email, _)| email.as_str()).collect();
        let found = self.run("find_by_email", batch.len(), async |store| store.accounts_by_email(&emails).await).await;
        for (email, reply) in batch {
            let _ = reply.send(found.as_ref().map(|accounts| accounts.get(email.as_str()).cloned()).map_err(|e| *e));
        }
    }

    pub(super) async fn insert(&self, mut batch: Batch<NewRow, OffsetDateTime>, _ended: Ended) {
        // In one order everywhere: two batches with the same addresses in different orders would wait for each other.
        batch.sort_by(|(a, _), (b, _)| a.email.cmp(&b.email));
        let rows: Vec<_> = batch.iter().map(|(row, _)| row).collect();
        let stored = self.run("insert", rows.len(), async |store| store.insert(&rows).await).await;
        for (row, reply) in batch {
            let _ = reply.send(match &stored {
                Ok(created) => created.get(&row.id).copied().ok_or(UserError::EmailTaken),
                Err(error) => Err(*error),
            });
        }
    }

    pub(super) async fn replace_hashes(&self, batch: Batch<NewHash, ()>, _ended: Ended) {
        for (hash, reply) in batch {
            let done = self.run("replace_hash", 1, async |store| store.replace_hash(&hash).await).await;
            let _ = reply.send(done);
        }
    }

    async fn run<T>(
        &self,
        name: &str,
        size: usize,
        statement: impl AsyncFnOnce(Store<'_>) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, UserError> {
        self.run_at(&self.pool, name, size, statement).await
    }

    /// Gives `statement` a connection of `pool`, and both together the configured time.
    async fn run_at<T>(
        &self,
        pool: &Pool,
        name: &str,
        size: usize,
        statement: impl AsyncFnOnce(Store<'_>) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, UserError> {
        let started = Instant::now();
        self.metrics.batch_size.with_label_values(&[name]).observe(f64::from(u32::try_from(size).unwrap_or(u32::MAX)));
        let result = timeout(self.timeout, async {
            self.metrics.pool_waiting.inc();
            let client = pool.get().await;
            self.metrics.pool_waiting.dec();
            let client = client.inspect_err(|error| tracing::warn!(statement = name, %error, "no database connection"));
            let client = Checkout(Some(client.map_err(|_| UserError::Unavailable)?));
            match statement(Store { client: client.connection()?, statements: self.mode }).await {
                Ok(answer) => {
                    client.give_back();
                    Ok(answer)
                }
                Err(error) => {
                    let cause = crate::database::root_cause(&error);
                    tracing::warn!(statement = name, cause, "a database statement failed");
                    if is_of_a_lost_server(&error) {
                        pool.retain(|_, _| false);
                    }
                    Err(UserError::Unavailable)
                }
            }
        })
        .await;
        self.metrics.statement_duration.with_label_values(&[name]).observe(seconds(started.elapsed()));
        let result = result.unwrap_or_else(|_| {
            tracing::warn!(statement = name, "a database statement took too long");
            Err(UserError::Unavailable)
        });
        if result.is_err() {
            self.metrics.statement_failures.with_label_values(&[name]).inc();
        }
        result
    }
}

/// A connection that goes back to the pool only after it answered. One that failed or was given up on may still be busy
/// with the statement, or lead to a server that refuses writes, so it is closed.
struct Checkout(Option<Object>);

impl Checkout {
    fn connection(&self) -> Result<&deadpool_postgres::ClientWrapper, UserError> {
        self.0.as_deref().ok_or(UserError::Unavailable)
    }

    fn give_back(mut self) {
        self.0 = None;
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Object::take(client));
        }
    }
}
