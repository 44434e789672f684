//! All SQL about users: domain values in, domain values out.

use std::collections::HashMap;

use deadpool_postgres::ClientWrapper;
use time::OffsetDateTime;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use super::{NewHash, NewRow};
use crate::domain::email::Email;
use crate::domain::name::Name;
use crate::domain::user::{Account, PasswordHash, User};

const USERS_BY_ID: &str = "SELECT user_id, name, email, created_at FROM users WHERE user_id = ANY($1)";
const ACCOUNTS_BY_EMAIL: &str =
    "SELECT user_id, name, email, created_at, password_hash FROM users WHERE email = ANY($1)";
const INSERT: &str = "INSERT INTO users (user_id, name, email, password_hash)
    SELECT * FROM unnest($1::uuid[], $2::varchar[], $3::varchar[], $4::varchar[])
    ON CONFLICT (email) DO NOTHING
    RETURNING user_id, created_at";
const REPLACE_HASH: &str = "UPDATE users SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2";

/// The users of these ids that exist.
pub(super) async fn users_by_id(client: &ClientWrapper, ids: &[Uuid]) -> Result<HashMap<Uuid, User>, Error> {
    let statement = client.prepare_cached(USERS_BY_ID).await?;
    let rows = client.query(&statement, &[&ids]).await?;
    rows.iter().map(|row| user(row).map(|user| (user.id, user))).collect()
}

/// The accounts of these addresses that exist.
pub(super) async fn accounts_by_email(
    client: &ClientWrapper,
    emails: &[&str],
) -> Result<HashMap<String, Account>, Error> {
    let statement = client.prepare_cached(ACCOUNTS_BY_EMAIL).await?;
    let rows = client.query(&statement, &[&emails]).await?;
    let account = |row: &Row| {
        let account = Account { user: user(row)?, password_hash: PasswordHash(row.try_get(4)?) };
        Ok((account.user.email.as_str().to_owned(), account))
    };
    rows.iter().map(account).collect()
}

/// Inserts the rows whose address is free, and tells when each of those was made.
pub(super) async fn insert(client: &ClientWrapper, rows: &[&NewRow]) -> Result<HashMap<Uuid, OffsetDateTime>, Error> {
    let statement = client.prepare_cached(INSERT).await?;
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
    let emails: Vec<_> = rows.iter().map(|row| row.email.as_str()).collect();
    let hashes: Vec<_> = rows.iter().map(|row| row.password_hash.0.as_str()).collect();
    let stored = client.query(&statement, &[&ids, &names, &emails, &hashes]).await?;
    stored.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Replaces one hash, unless it is no longer the one that was read.
pub(super) async fn replace_hash(client: &ClientWrapper, hash: &NewHash) -> Result<(), Error> {
    let statement = client.prepare_cached(REPLACE_HASH).await?;
    client.execute(&statement, &[&hash.id, &hash.old.0, &hash.new.0]).await.map(|_| ())
}

fn user(row: &Row) -> Result<User, Error> {
    Ok(User {
        id: row.try_get(0)?,
        name: Name::from_stored(row.try_get(1)?),
        email: Email::from_stored(row.try_get(2)?),
        created_at: row.try_get(3)?,
    })
}
