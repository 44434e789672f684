//! The statements that answer requests which have gathered.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::store::Store;
use super::{Ended, NewHash, NewRow, Reply, UserError};
use crate::actors::batch;
use crate::database::statements::{Connection, Statements};
use crate::domain::email::Email;
use crate::domain::user::{Account, User};

/// How long a standby that did not answer is left alone, and the primary asked in its place.
const REPLICA_RESTS: Duration = Duration::from_secs(5);

/// Runs statements and hands their answers out.
pub(super) struct Batches {
    pub(super) pool: Pool,
    pub(super) replica: Option<Replica>,
    pub(super) statements: Statements,
}

type Batch<K, T> = batch::Batch<K, Reply<T>>;

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

impl Batches {
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

    async fn run_at<T>(
        &self,
        pool: &Pool,
        name: &str,
        size: usize,
        statement: impl AsyncFnOnce(Store<'_>) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, UserError> {
        let statement = async |connection: Connection<'_>| statement(Store(connection)).await;
        Ok(self.statements.run(pool, name, size, statement).await?)
    }
}
