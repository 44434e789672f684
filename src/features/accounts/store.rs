//! All SQL about users: a type for each statement.

use std::collections::HashMap;

use time::OffsetDateTime;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use super::handle::{NewHash, NewRow, UserError};
use super::types::email::Email;
use super::types::name::Name;
use super::types::{Account, User};
use crate::actors::batcher::{Statement, align};
use crate::database::Pool;
use crate::database::statements::{Connection, Parameter, Statements, Unavailable};
use crate::hashing::PasswordHash;

const USERS_BY_ID: &str = "SELECT user_id, name, email, created_at FROM users WHERE user_id = ANY($1)";
const ACCOUNTS_BY_EMAIL: &str =
    "SELECT user_id, name, email, created_at, password_hash FROM users WHERE email = ANY($1)";
// The events are those of audit_append, for all rows at once: a call for each would cost as much as the row does.
const INSERT: &str = "WITH asked AS (
        SELECT * FROM unnest($1::uuid[], $2::varchar[], $3::varchar[], $4::varchar[], $5::text[], $6::text[])
            AS asked (user_id, name, email, password_hash, audit_email, source)
    ), stored AS (
        INSERT INTO users (user_id, name, email, password_hash)
        SELECT user_id, name, email, password_hash FROM asked
        ON CONFLICT (email) DO NOTHING
        RETURNING user_id, created_at
    ), recorded AS (
        INSERT INTO audit_events (kind, user_id, email, source)
        SELECT 'registered', user_id, audit_email, source FROM stored JOIN asked USING (user_id)
    )
    SELECT user_id, created_at FROM stored";
const REPLACE_HASH: &str = "WITH replaced AS (
        UPDATE users SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2 RETURNING user_id
    )
    SELECT audit_append('hash_upgraded', user_id, $4, $5, NULL) FROM replaced";

/// The table of users: its connections, and how statements are sent.
#[derive(Clone)]
pub(super) struct Users {
    pub(super) pool: Pool,
    pub(super) statements: Statements,
}

impl Users {
    async fn run<T>(
        &self,
        name: &str,
        size: usize,
        statement: impl AsyncFnOnce(Connection<'_>) -> Result<T, Error>,
    ) -> Result<T, Unavailable> {
        self.statements.run(&self.pool, name, size, statement).await
    }
}

/// Finds users by their ids.
pub(super) struct UsersById(pub(super) Users);

impl Statement for UsersById {
    type Key = Uuid;
    type Value = Option<User>;
    type Error = UserError;

    async fn run(&self, ids: Vec<Uuid>) -> Vec<Result<Option<User>, UserError>> {
        let lookup =
            async |connection: Connection<'_>| connection.query(USERS_BY_ID, &[(&ids, Type::UUID_ARRAY)]).await;
        let rows = self.0.run("find_by_id", ids.len(), lookup).await;
        answers(&ids, rows, |row| readable(user(row)), |user| &user.id)
    }
}

/// Finds accounts by their addresses.
pub(super) struct AccountsByEmail(pub(super) Users);

impl Statement for AccountsByEmail {
    type Key = Email;
    type Value = Option<Account>;
    type Error = UserError;

    async fn run(&self, emails: Vec<Email>) -> Vec<Result<Option<Account>, UserError>> {
        let lookup = async |connection: Connection<'_>| {
            let texts: Vec<_> = emails.iter().map(Email::as_str).collect();
            connection.query(ACCOUNTS_BY_EMAIL, &[(&texts, Type::VARCHAR_ARRAY)]).await
        };
        let rows = self.0.run("find_by_email", emails.len(), lookup).await;
        let account = |row: &Row| Ok(Account { user: user(row)?, password_hash: PasswordHash(row.try_get(4)?) });
        answers(&emails, rows, |row| readable(account(row)), |account| &account.user.email)
    }
}

/// The answer to each key: the value of its row, where there is one.
fn answers<K: Ord, T: Clone>(
    keys: &[K],
    rows: Result<Vec<Row>, Unavailable>,
    read: impl Fn(&Row) -> Option<T>,
    key: impl Fn(&T) -> &K,
) -> Vec<Result<Option<T>, UserError>> {
    match rows {
        Ok(rows) => align(keys, rows.iter().filter_map(read).collect(), key).into_iter().map(Ok).collect(),
        Err(error) => keys.iter().map(|_| Err(error.into())).collect(),
    }
}

/// Stores new users, each with its event; answers when each was made.
pub(super) struct Insert(pub(super) Users);

impl Statement for Insert {
    type Key = NewRow;
    type Value = OffsetDateTime;
    type Error = UserError;

    async fn run(&self, rows: Vec<NewRow>) -> Vec<Result<OffsetDateTime, UserError>> {
        // In one order everywhere: two batches with the same addresses in different orders would wait for each other.
        let mut ordered: Vec<_> = rows.iter().collect();
        ordered.sort_by(|a, b| a.email.cmp(&b.email));
        let mut stored = self.insert(&ordered).await;
        let is_one_at_fault = stored.as_ref().is_err_and(|error| error.for_a_value) && rows.len() > 1;
        let mut answers = Vec::with_capacity(rows.len());
        for row in &rows {
            if is_one_at_fault {
                // A table that was taken over may have rules that the service does not know. Only the row that breaks
                // one fails.
                stored = self.insert(&[row]).await;
            }
            answers.push(match &stored {
                Ok(created) => created.get(&row.id).copied().ok_or(UserError::EmailTaken),
                Err(error) => Err((*error).into()),
            });
        }
        answers
    }
}

impl Insert {
    /// Inserts the rows whose address is free; returns when each was made.
    async fn insert(&self, rows: &[&NewRow]) -> Result<HashMap<Uuid, OffsetDateTime>, Unavailable> {
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
        let emails: Vec<_> = rows.iter().map(|row| row.email.as_str()).collect();
        let hashes: Vec<_> = rows.iter().map(|row| row.password_hash.0.as_str()).collect();
        let audit_emails: Vec<_> = rows.iter().map(|row| row.audit_fields.email.as_deref()).collect();
        let sources: Vec<_> = rows.iter().map(|row| row.audit_fields.source.as_deref()).collect();
        let statement = async |connection: Connection<'_>| {
            let parameters: [Parameter<'_>; 6] = [
                (&ids, Type::UUID_ARRAY),
                (&names, Type::VARCHAR_ARRAY),
                (&emails, Type::VARCHAR_ARRAY),
                (&hashes, Type::VARCHAR_ARRAY),
                (&audit_emails, Type::TEXT_ARRAY),
                (&sources, Type::TEXT_ARRAY),
            ];
            let stored = connection.query(INSERT, &parameters).await?;
            stored.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
        };
        self.0.run("insert", rows.len(), statement).await
    }
}

/// Replaces a hash, with its event, unless it has changed since it was read. That is rare, and nobody waits for it, so
/// each goes alone.
pub(super) struct ReplaceHash(pub(super) Users);

impl Statement for ReplaceHash {
    type Key = NewHash;
    type Value = ();
    type Error = UserError;
    const MAX: usize = 1;

    async fn run(&self, hashes: Vec<NewHash>) -> Vec<Result<(), UserError>> {
        let mut answers = Vec::with_capacity(hashes.len());
        for hash in &hashes {
            let statement = async |connection: Connection<'_>| {
                let (old, new) = (&hash.old.0, &hash.new.0);
                let parameters: [Parameter<'_>; 5] = [
                    (&hash.id, Type::UUID),
                    (old, Type::VARCHAR),
                    (new, Type::VARCHAR),
                    (&hash.audit_fields.email, Type::TEXT),
                    (&hash.audit_fields.source, Type::TEXT),
                ];
                connection.query(REPLACE_HASH, &parameters).await.map(drop)
            };
            answers.push(self.0.run("replace_hash", 1, statement).await.map_err(UserError::from));
        }
        answers
    }
}

/// A row with values that no user can have, such as a time of `infinity`, counts as missing, so that the others of its
/// statement get their answers.
fn readable<T>(read: Result<T, Error>) -> Option<T> {
    read.inspect_err(|error| tracing::warn!(%error, "a row of users cannot be read and is left out")).ok()
}

fn user(row: &Row) -> Result<User, Error> {
    Ok(User {
        id: row.try_get(0)?,
        name: Name::from_stored(row.try_get(1)?),
        email: Email::from_stored(row.try_get(2)?),
        created_at: row.try_get(3)?,
    })
}
