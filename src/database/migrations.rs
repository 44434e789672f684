//! The schema, and how it gets into a database.
//!
//! Each migration runs in a transaction of its own and is recorded in `rollcall_migrations`. An advisory lock lets many
//! replicas start at once. A database that the Python service's migration made is adopted: recorded, not touched.

use std::time::Duration;

use deadpool_postgres::{Pool, Transaction};
use thiserror::Error;
use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

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
const MIGRATIONS: [Migration; 6] = [
    Migration { version: 1, name: "create_users", sql: include_str!("../../sql/0001_create_users.sql") },
    Migration { version: 2, name: "create_audit_events", sql: include_str!("../../sql/0002_create_audit_events.sql") },
    Migration {
        version: 3,
        name: "create_login_attempts",
        sql: include_str!("../../sql/0003_create_login_attempts.sql"),
    },
    Migration { version: 4, name: "create_signing_keys", sql: include_str!("../../sql/0004_create_signing_keys.sql") },
    Migration {
        version: 5,
        name: "bound_login_attempts",
        sql: include_str!("../../sql/0005_bound_login_attempts.sql"),
    },
    Migration { version: 6, name: "hold_login_attempts", sql: include_str!("../../sql/0006_hold_login_attempts.sql") },
];

/// Where steps are recorded.
const RECORDS: &str = "CREATE TABLE rollcall_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP
)";

/// Tables that the steps make and that nobody else may have made before.
const OWN_TABLES: [&str; 4] = ["audit_events", "audit_chain", "login_attempts", "signing_keys"];

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
    /// There is a table of a name that the service needs, and it is not the service's.
    #[error(
        "the database has a table {table} that rollcall did not make; nothing was changed: rename it, or give rollcall a \
         schema of its own with ?options=-c%20search_path%3Drollcall in database.url (CREATE SCHEMA rollcall first)"
    )]
    NameTaken {
        /// The table.
        table: &'static str,
    },
    /// The records say that the table was made, and it is not there.
    #[error("the table users is missing, though rollcall_migrations says that it was made; restore it, or drop both")]
    UsersMissing,
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

/// Runs all steps that are due, in one transaction, and takes them back: what [`run`] would refuse is refused.
///
/// # Errors
/// [`MigrationError`].
pub async fn rehearse(pool: &Pool) -> Result<(), MigrationError> {
    let mut client = pool.get().await.map_err(|error| MigrationError::Failed(root_cause(&error)))?;
    let transaction = client.transaction().await?;
    prepare(&transaction).await?;
    let from = current_version(&*transaction).await?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > from) {
        step(&transaction, migration).await?;
    }
    Ok(transaction.rollback().await?)
}

/// Brings the database up to [`LATEST`].
///
/// # Errors
/// [`MigrationError`]; a failed step leaves nothing behind.
pub async fn run(pool: &Pool) -> Result<Outcome, MigrationError> {
    let mut client = pool.get().await.map_err(|error| MigrationError::Failed(root_cause(&error)))?;
    // A start on an up-to-date database takes no lock.
    let from = current_version(&**client).await?;
    let mut outcome = Outcome::UpToDate;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > from) {
        let transaction = client.transaction().await?;
        prepare(&transaction).await?;
        // Another replica may have come first, with this step or with all.
        if current_version(&*transaction).await? >= migration.version {
            continue;
        }
        let adopts = step(&transaction, migration).await?;
        transaction.commit().await?;
        if adopts {
            outcome = Outcome::Adopted;
        } else if outcome == Outcome::UpToDate {
            outcome = Outcome::Migrated { from };
        }
    }
    Ok(outcome)
}

/// Waits for other replicas' steps. All that a step needs of its session ends with the transaction: a proxy may give the next
/// one another session.
async fn prepare(transaction: &Transaction<'_>) -> Result<(), MigrationError> {
    let timeout_ms = LOCK_TIMEOUT.as_millis();
    transaction
        .batch_execute(&format!(
            "SET LOCAL statement_timeout = 0;
             SET LOCAL lock_timeout = {timeout_ms};
             SELECT pg_advisory_xact_lock({LOCK_KEY})"
        ))
        .await?;
    Ok(())
}

/// Runs and records one step; tells whether it adopted users that were there.
async fn step(transaction: &Transaction<'_>, migration: &Migration) -> Result<bool, MigrationError> {
    if !exists(&**transaction, "rollcall_migrations").await? {
        transaction.batch_execute(RECORDS).await?;
    }
    if migration.version == 1 {
        check_names(&**transaction).await?;
    }
    let adopts = migration.version == 1 && exists(&**transaction, "users").await?;
    if adopts {
        check_adoptable(&**transaction).await?;
    } else {
        transaction.batch_execute(migration.sql).await?;
    }
    let record = "INSERT INTO rollcall_migrations (version, name) VALUES ($1, $2)";
    transaction.execute_typed(record, &[(&migration.version, Type::INT4), (&migration.name, Type::TEXT)]).await?;
    Ok(adopts)
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
    if !exists(client, "rollcall_migrations").await? {
        return Ok(0);
    }
    let row = client.query_typed_one("SELECT coalesce(max(version), 0) FROM rollcall_migrations", &[]).await?;
    let found: i32 = row.try_get(0)?;
    if found > LATEST {
        return Err(MigrationError::TooNew { found });
    }
    if found > 0 && !exists(client, "users").await? {
        return Err(MigrationError::UsersMissing);
    }
    Ok(found)
}

async fn exists(client: &impl GenericClient, table: &str) -> Result<bool, MigrationError> {
    // Reads the catalog's rows. to_regclass() asks the session's cache, which may not know yet what was committed while the
    // session waited for the lock.
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relname = $1 AND pg_table_is_visible(oid))";
    Ok(client.query_typed_one(sql, &[(&table, Type::TEXT)]).await?.try_get(0)?)
}

/// Whether all names are free that later steps need: a step that fails would leave those before it done.
async fn check_names(client: &impl GenericClient) -> Result<(), MigrationError> {
    for table in OWN_TABLES {
        if exists(client, table).await? {
            return Err(MigrationError::NameTaken { table });
        }
    }
    Ok(())
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
        .query_typed(
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
        .query_typed_opt(
            "SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attname = 'email'
             WHERE i.indrelid = to_regclass('users') AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
               AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum
             LIMIT 1",
            &[],
        )
        .await?;
    unique.map(|_| ()).ok_or_else(|| MigrationError::Foreign("its column email is not UNIQUE".to_owned()))
}
