//! The schema, and how it gets into a database.
//!
//! Each migration runs in a transaction of its own and is recorded in `rollcall_migrations`. An advisory lock lets many
//! replicas start at once. A database that the Python service's migration made is adopted: recorded, not touched.

use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use thiserror::Error;
use tokio_postgres::GenericClient;

use super::root_cause;

/// The key of the advisory lock: "rollcall" in ASCII.
const LOCK_KEY: i64 = 0x726f_6c6c_6361_6c6c;
/// How long to wait for another replica's migrations.
const LOCK_TIMEOUT: Duration = Duration::from_mins(1);

/// One step of the schema.
struct Migration {
    version: i32,
    name: &'static str,
    sql: &'static str,
}

/// All steps, in order.
const MIGRATIONS: [Migration; 1] =
    [Migration { version: 1, name: "create_users", sql: include_str!("../../sql/0001_create_users.sql") }];

/// The schema version that this program works with.
pub const LATEST: i32 = {
    let [.., last] = MIGRATIONS;
    last.version
};

/// Why the schema can't be brought up to date.
#[derive(Debug, Error)]
pub enum MigrationError {
    /// A later program has been here.
    #[error("the database is at schema version {found}, newer than this program's {LATEST}; run a newer rollcall")]
    TooNew {
        /// The version found.
        found: i32,
    },
    /// There is a table `users` of another shape.
    #[error("the table users cannot be adopted: {0}; mend it, or point database.url at another database")]
    Foreign(String),
    /// A statement failed.
    #[error("migration of the database failed: {0}")]
    Failed(String),
}

impl From<tokio_postgres::Error> for MigrationError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Failed(root_cause(&error))
    }
}

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: the schema was up to date.
    UpToDate,
    /// The users of the Python service were taken over.
    Adopted,
    /// Steps were run up to [`LATEST`].
    Migrated {
        /// The version before.
        from: i32,
    },
}

/// Brings the database up to [`LATEST`].
///
/// # Errors
/// [`MigrationError`]; a failed step leaves nothing behind.
pub async fn run(pool: &Pool) -> Result<Outcome, MigrationError> {
    let client = pool.get().await.map_err(|error| MigrationError::Failed(root_cause(&error)))?;
    // A start on an up-to-date database takes no lock.
    if current_version(&**client).await? == LATEST {
        return Ok(Outcome::UpToDate);
    }
    // The session's timeouts and lock are not for the pool: the connection is dropped, and the lock with it.
    let mut client = Object::take(client);
    client
        .batch_execute(&format!("SET statement_timeout = 0; SET lock_timeout = {}", LOCK_TIMEOUT.as_millis()))
        .await?;
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK_KEY]).await?;
    let from = current_version(&*client).await?;
    let mut outcome = if from == LATEST { Outcome::UpToDate } else { Outcome::Migrated { from } };
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > from) {
        let transaction = client.transaction().await?;
        transaction
            .batch_execute(
                "CREATE TABLE IF NOT EXISTS rollcall_migrations (
                    version INTEGER PRIMARY KEY,
                    name TEXT NOT NULL,
                    applied_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP
                )",
            )
            .await?;
        if migration.version == 1 && users_exist(&*transaction).await? {
            check_adoptable(&*transaction).await?;
            outcome = Outcome::Adopted;
        } else {
            transaction.batch_execute(migration.sql).await?;
        }
        transaction
            .execute(
                "INSERT INTO rollcall_migrations (version, name) VALUES ($1, $2)",
                &[&migration.version, &migration.name],
            )
            .await?;
        transaction.commit().await?;
    }
    Ok(outcome)
}

/// The schema's version as it is now; 0 is a database that no rollcall has seen.
///
/// # Errors
/// [`MigrationError::TooNew`], [`MigrationError::Failed`].
pub async fn version(pool: &Pool) -> Result<i32, MigrationError> {
    let client = pool.get().await.map_err(|error| MigrationError::Failed(root_cause(&error)))?;
    current_version(&**client).await
}

/// The version recorded in the database, 0 where none is.
async fn current_version(client: &impl GenericClient) -> Result<i32, MigrationError> {
    let recorded: bool =
        client.query_one("SELECT to_regclass('rollcall_migrations') IS NOT NULL", &[]).await?.try_get(0)?;
    if !recorded {
        return Ok(0);
    }
    let row = client.query_one("SELECT coalesce(max(version), 0) FROM rollcall_migrations", &[]).await?;
    let found: i32 = row.try_get(0)?;
    if found > LATEST { Err(MigrationError::TooNew { found }) } else { Ok(found) }
}

async fn users_exist(client: &impl GenericClient) -> Result<bool, MigrationError> {
    Ok(client.query_one("SELECT to_regclass('users') IS NOT NULL", &[]).await?.try_get(0)?)
}

/// Reads the catalog only, so that it waits for nobody and nobody waits for it.
async fn check_adoptable(client: &impl GenericClient) -> Result<(), MigrationError> {
    const COLUMNS: [(&str, &[&str]); 6] = [
        ("user_id", &["uuid"]),
        ("name", &["varchar", "text"]),
        ("email", &["varchar", "text"]),
        ("password_hash", &["varchar", "text"]),
        ("created_at", &["timestamptz"]),
        ("updated_at", &["timestamptz"]),
    ];
    let rows = client
        .query(
            "SELECT a.attname::text, t.typname::text FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
             WHERE a.attrelid = to_regclass('users') AND a.attnum > 0 AND NOT a.attisdropped",
            &[],
        )
        .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        found.push((row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?));
    }
    for (column, types) in COLUMNS {
        match found.iter().find(|(name, _)| name == column) {
            Some((_, kind)) if types.contains(&kind.as_str()) => {}
            Some((_, kind)) => {
                return Err(MigrationError::Foreign(format!("its column {column} is of type {kind}")));
            }
            None => return Err(MigrationError::Foreign(format!("it has no column {column}"))),
        }
    }
    let unique = client
        .query_opt(
            "SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attname = 'email'
             WHERE i.indrelid = to_regclass('users') AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
               AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum
             LIMIT 1",
            &[],
        )
        .await?;
    unique.map(|_| ()).ok_or_else(|| MigrationError::Foreign("its column email is not UNIQUE".to_owned()))
}
