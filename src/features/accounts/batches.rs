//! The statements that answer requests which have gathered.

use std::collections::HashMap;

use crate::database::Pool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::handle::{NewHash, NewRow, Reply, UserError};
use super::inbox::Batch;
use super::store::Store;
use crate::actors::batch::{self, Place};
use crate::database::statements::{Connection, Statements, Unavailable};
use crate::features::accounts::types::email::Email;
use crate::features::accounts::types::{Account, User};

/// Runs statements and hands their answers out.
pub(super) struct Batches {
    pub(super) pool: Pool,
    pub(super) statements: Statements,
}

type Writes<K, T> = batch::Batch<K, Reply<T>>;

impl Batches {
    pub(super) async fn find_by_id(&self, mut batch: Batch<Uuid, User>, _place: Place) {
        let ids: Vec<_> = batch.keys().copied().collect();
        let lookup = async |store: Store<'_>| store.users_by_id(&ids).await;
        let (found, rest) = match batch.wait(self.run("find_by_id", ids.len(), lookup)).await {
            Ok(users) => (users, Ok(())),
            Err(error) => (Vec::new(), Err(error)),
        };
        batch.answer(found, |user| &user.id, rest);
    }

    pub(super) async fn find_by_email(&self, mut batch: Batch<Email, Account>, _place: Place) {
        let emails: Vec<_> = batch.keys().cloned().collect();
        let lookup = async |store: Store<'_>| {
            let emails: Vec<_> = emails.iter().map(Email::as_str).collect();
            store.accounts_by_email(&emails).await
        };
        let (found, rest) = match batch.wait(self.run("find_by_email", emails.len(), lookup)).await {
            Ok(accounts) => (accounts, Ok(())),
            Err(error) => (Vec::new(), Err(error)),
        };
        batch.answer(found, |account| &account.user.email, rest);
    }

    pub(super) async fn insert(&self, mut batch: Writes<NewRow, OffsetDateTime>, _place: Place) {
        // In one order everywhere: two batches with the same addresses in different orders would wait for each other.
        batch.sort_by(|(a, _), (b, _)| a.email.cmp(&b.email));
        let rows: Vec<_> = batch.iter().map(|(row, _)| row).collect();
        let mut stored = self.insert_rows(&rows).await;
        let is_one_at_fault = stored.as_ref().is_err_and(|error| error.for_a_value) && rows.len() > 1;
        for (row, reply) in batch {
            if is_one_at_fault {
                // A table that was taken over may refuse what the service does not know of; that is its own row's affair.
                stored = self.insert_rows(&[&row]).await;
            }
            let _ = reply.send(match &stored {
                Ok(created) => created.get(&row.id).copied().ok_or(UserError::EmailTaken),
                Err(error) => Err((*error).into()),
            });
        }
    }

    async fn insert_rows(&self, rows: &[&NewRow]) -> Result<HashMap<Uuid, OffsetDateTime>, Unavailable> {
        let statement = async |connection: Connection<'_>| Store(connection).insert(rows).await;
        self.statements.run(&self.pool, "insert", rows.len(), statement).await
    }

    pub(super) async fn replace_hashes(&self, batch: Writes<NewHash, ()>, _place: Place) {
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
        let statement = async |connection: Connection<'_>| statement(Store(connection)).await;
        Ok(self.statements.run(&self.pool, name, size, statement).await?)
    }
}
