//! Requests that gather, and the statement that answers a batch of them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{ClientWrapper, Object, Pool};
use ractor::Message;
use time::OffsetDateTime;
use tokio::time::timeout;
use uuid::Uuid;

use super::replica::Replica;
use super::store::Store;
use super::{Ended, NewHash, NewRow, Reply, UserError};
use crate::config;
use crate::database::{Cancel, is_of_a_lost_server};
use crate::domain::email::Email;
use crate::domain::user::{Account, User};
use crate::telemetry::{Metrics, seconds};

/// The share of a lookup's time that a standby may take: where it fails, the primary has the rest.
const REPLICA_SHARE: u32 = 4;

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
    pub(super) replica: Option<Arc<Replica>>,
    pub(super) cancel: Cancel,
    pub(super) mode: config::Statements,
    pub(super) timeout: Duration,
    pub(super) metrics: Arc<Metrics>,
}

impl Statements {
    pub(super) async fn find_by_id(&self, batch: Batch<Uuid, Option<User>>, _ended: Ended) {
        let began = Instant::now();
        let mut ids: Vec<_> = batch.iter().map(|(id, _)| *id).collect();
        let mut found = self.find_at_replica(&ids).await;
        // A standby lags: who is missing there may have registered just now.
        ids.retain(|id| !found.contains_key(id));
        let rest = if ids.is_empty() {
            Ok(())
        } else {
            let left = self.timeout.saturating_sub(began.elapsed());
            let lookup = async |store: Store<'_>| store.users_by_id(&ids).await;
            let found_here = self.run_at(&self.pool, left, "find_by_id", ids.len(), lookup).await;
            found_here.map(|users| found.extend(users))
        };
        for (id, reply) in batch {
            let user = found.get(&id).cloned();
            let _ = reply.send(if user.is_some() { Ok(user) } else { rest.map(|()| None) });
        }
    }

    /// Those of `ids` that the standby knows: none where there is no standby, or it is away.
    async fn find_at_replica(&self, ids: &[Uuid]) -> HashMap<Uuid, User> {
        let Some(replica) = &self.replica else { return HashMap::new() };
        let Some(pool) = replica.pool(self.timeout) else { return HashMap::new() };
        let lookup = async |store: Store<'_>| store.users_by_id(ids).await;
        let share = self.timeout / REPLICA_SHARE;
        let found = self.run_at(pool, share, "find_by_id_at_replica", ids.len(), lookup).await;
        found.unwrap_or_else(|_| {
            replica.rest();
            HashMap::new()
        })
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
        self.run_at(&self.pool, self.timeout, name, size, statement).await
    }

    /// Gives `statement` a connection of `pool`, and both together time up to `limit`.
    async fn run_at<T>(
        &self,
        pool: &Pool,
        limit: Duration,
        name: &str,
        size: usize,
        statement: impl AsyncFnOnce(Store<'_>) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, UserError> {
        let started = Instant::now();
        self.metrics.batch_size.with_label_values(&[name]).observe(f64::from(u32::try_from(size).unwrap_or(u32::MAX)));
        let result = timeout(limit, async {
            self.metrics.pool_waiting.inc();
            let client = pool.get().await;
            self.metrics.pool_waiting.dec();
            let client = client.inspect_err(|error| tracing::warn!(statement = name, %error, "no database connection"));
            let client = Checkout { client: Some(client.map_err(|_| UserError::Unavailable)?), cancel: &self.cancel };
            let answer = statement(Store { client: client.connection()?, statements: self.mode }).await;
            match answer {
                Ok(answer) => {
                    client.give_back();
                    Ok(answer)
                }
                Err(error) => {
                    client.close();
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
        let took = started.elapsed();
        self.metrics.statement_duration.with_label_values(&[name]).observe(seconds(took));
        let result = result.unwrap_or_else(|_| {
            tracing::warn!(statement = name, "a database statement took too long");
            // What was not of use meanwhile may lead nowhere either, and cost the next statement as much.
            pool.retain(|_, metrics| metrics.last_used() < took);
            Err(UserError::Unavailable)
        });
        if result.is_err() {
            self.metrics.statement_failures.with_label_values(&[name]).inc();
        }
        result
    }
}

/// A connection that goes back to the pool only after it answered. One that failed may lead to a server that refuses writes
/// and is closed; so is one that was given up on, which may still be busy, and the server is told to leave that.
struct Checkout<'a> {
    client: Option<Object>,
    cancel: &'a Cancel,
}

impl Checkout<'_> {
    fn connection(&self) -> Result<&ClientWrapper, UserError> {
        self.client.as_deref().ok_or(UserError::Unavailable)
    }

    fn give_back(mut self) {
        self.client = None;
    }

    fn close(mut self) {
        drop(self.client.take().map(Object::take));
    }
}

impl Drop for Checkout<'_> {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            self.cancel.send(client.cancel_token());
            drop(Object::take(client));
        }
    }
}
