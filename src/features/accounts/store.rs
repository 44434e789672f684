//! All SQL about users: domain values in, domain values out.

use std::collections::HashMap;

use time::OffsetDateTime;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use super::handle::{NewHash, NewRow};
use crate::database::statements::{Connection, Parameter};
use crate::features::accounts::types::email::Email;
use crate::features::accounts::types::name::Name;
use crate::features::accounts::types::{Account, User};
use crate::hashing::PasswordHash;

const USERS_BY_ID: &str = "SELECT user_id, name, email, created_at FROM users WHERE user_id = ANY($1)";
const ACCOUNTS_BY_EMAIL: &str =
    "SELECT user_id, name, email, created_at, password_hash FROM users WHERE email = ANY($1)";
// The events are those of audit_append, for all rows at once: a call for each would cost as much as the row does.
const INSERT: &str = "WITH asked AS (
        SELECT * FROM unnest($1::uuid[], $2::varchar[], $3::varchar[], $4::varchar[], $5::text[], $6::text[])
            AS asked (user_id, name, email, password_hash, told_email, source)
    ), stored AS (
        INSERT INTO users (user_id, name, email, password_hash)
        SELECT user_id, name, email, password_hash FROM asked
        ON CONFLICT (email) DO NOTHING
        RETURNING user_id, created_at
    ), told AS (
        INSERT INTO audit_events (kind, user_id, email, source)
        SELECT 'registered', user_id, told_email, source FROM stored JOIN asked USING (user_id)
    )
    SELECT user_id, created_at FROM stored";
const REPLACE_HASH: &str = "WITH replaced AS (
        UPDATE users SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2 RETURNING user_id
    )
    SELECT audit_append('hash_upgraded', user_id, $4, $5, NULL) FROM replaced";

/// The users behind a connection.
pub(super) struct Store<'a>(pub(super) Connection<'a>);

impl Store<'_> {
    /// The users of these ids that exist.
    pub(super) async fn users_by_id(&self, ids: &[Uuid]) -> Result<Vec<User>, Error> {
        let rows = self.query(USERS_BY_ID, &[(&ids, Type::UUID_ARRAY)]).await?;
        Ok(rows.iter().filter_map(|row| readable(user(row))).collect())
    }

    /// The accounts of these addresses that exist.
    pub(super) async fn accounts_by_email(&self, emails: &[&str]) -> Result<Vec<Account>, Error> {
        let rows = self.query(ACCOUNTS_BY_EMAIL, &[(&emails, Type::VARCHAR_ARRAY)]).await?;
        let account = |row| Ok(Account { user: user(row)?, password_hash: PasswordHash(row.try_get(4)?) });
        Ok(rows.iter().filter_map(|row| readable(account(row))).collect())
    }

    /// Inserts the rows whose address is free, each with its event, and tells when each of those was made.
    pub(super) async fn insert(&self, rows: &[&NewRow]) -> Result<HashMap<Uuid, OffsetDateTime>, Error> {
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
        let emails: Vec<_> = rows.iter().map(|row| row.email.as_str()).collect();
        let hashes: Vec<_> = rows.iter().map(|row| row.password_hash.0.as_str()).collect();
        let told_emails: Vec<_> = rows.iter().map(|row| row.told.email.as_deref()).collect();
        let sources: Vec<_> = rows.iter().map(|row| row.told.source.as_deref()).collect();
        let texts = Type::VARCHAR_ARRAY;
        let stored = self
            .query(
                INSERT,
                &[
                    (&ids, Type::UUID_ARRAY),
                    (&names, texts.clone()),
                    (&emails, texts.clone()),
                    (&hashes, texts),
                    (&told_emails, Type::TEXT_ARRAY),
                    (&sources, Type::TEXT_ARRAY),
                ],
            )
            .await?;
        stored.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// Replaces one hash, with the event of that, unless it is no longer the one that was read.
    pub(super) async fn replace_hash(&self, hash: &NewHash) -> Result<(), Error> {
        let (old, new) = (&hash.old.0, &hash.new.0);
        let parameters: [Parameter<'_>; 5] = [
            (&hash.id, Type::UUID),
            (old, Type::VARCHAR),
            (new, Type::VARCHAR),
            (&hash.told.email, Type::TEXT),
            (&hash.told.source, Type::TEXT),
        ];
        self.query(REPLACE_HASH, &parameters).await.map(|_| ())
    }

    async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
        self.0.query(sql, parameters).await
    }
}

/// A row that says what no user is like, such as one made at `infinity`, is none: others of its statement are not to suffer.
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
