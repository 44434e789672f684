//! The schema, and its migrations.
//!
//! Each migration runs in a transaction of its own and is recorded in `rollcall_migrations`. An advisory lock lets many
//! replicas start at once. A table of users that the Python service made is adopted: the first step is recorded and
//! does not run.

mod adoption;

use std::time::Duration;

use deadpool_postgres::Transaction;
use thiserror::Error;
use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use super::{Client, Pool, root_cause};

/// The key of the advisory lock: "rollcall" in ASCII.
const LOCK_KEY: i64 = 0x726f_6c6c_6361_6c6c;
/// How long to wait for another replica's migrations.
const LOCK_TIMEOUT: Duration = Duration::from_mins(1);

/// One step of the schema.
#[derive(Debug)]
pub struct Migration {
    /// Its number: steps run in the order of their numbers, whichever feature they belong to.
    pub version: i32,
    /// Its name in the records.
    pub name: &'static str,
    /// Its statements. Released ones are never changed.
    pub sql: &'static str,
    /// Tables that it makes, and that must not exist before.
    pub tables: &'static [&'static str],
}

/// The schema that this program works with: the steps of all features.
#[derive(Debug, Clone)]
pub struct Schema {
    steps: Vec<&'static Migration>,
}

/// The table that records steps.
const RECORDS: &str = "CREATE TABLE rollcall_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP
)";

/// Why the schema can't be brought up to date.
#[derive(Debug, Error)]
pub enum MigrationError {
    /// A newer program has migrated it.
    #[error("the database is at schema version {found}, newer than this program's {latest}; run a newer rollcall")]
    TooNew {
        /// The version found.
        found: i32,
        /// The program's.
        latest: i32,
    },
    /// The schema is older than this program needs; only `serve` and `migrate` update it.
    #[error("the database is at schema version {found}, not {latest}; run `rollcall migrate` first")]
    TooOld {
        /// The version found.
        found: i32,
        /// The program's.
        latest: i32,
    },
    /// The table `users` has another shape.
    #[error("the table users cannot be adopted: {0}; mend it, or point database.url at another database")]
    Foreign(String),
    /// A table with a name that the service needs is not the service's.
    #[error(
        "the database has a table {table} that rollcall did not make; nothing was changed: rename it, or give rollcall a \
         schema of its own with ?options=-c%20search_path%3Drollcall in database.url (CREATE SCHEMA rollcall first)"
    )]
    NameTaken {
        /// The table.
        table: &'static str,
    },
    /// The table is recorded, but missing.
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

/// The outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: the schema was up to date.
    UpToDate,
    /// The users of the Python service were taken over.
    Adopted,
    /// Steps were run up to the latest.
    Migrated {
        /// The version before.
        from: i32,
    },
}

impl Schema {
    /// The schema that these steps make, in the order of their numbers.
    #[must_use]
    pub fn new(steps: impl IntoIterator<Item = &'static Migration>) -> Self {
        let mut steps: Vec<_> = steps.into_iter().collect();
        steps.sort_by_key(|step| step.version);
        Self { steps }
    }

    /// All steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[&'static Migration] {
        &self.steps
    }

    /// The version that this program works with.
    #[must_use]
    pub fn latest(&self) -> i32 {
        self.steps.last().map_or(0, |step| step.version)
    }

    /// Runs all due steps in one transaction and rolls it back: it fails where [`Self::run`] would fail.
    ///
    /// # Errors
    /// [`MigrationError`].
    pub async fn rehearse(&self, pool: &Pool) -> Result<(), MigrationError> {
        let mut client = connection(pool).await?;
        let transaction = client.transaction().await?;
        prepare(&transaction).await?;
        let from = self.current_version(&*transaction).await?;
        self.check_names(&*transaction, from).await?;
        for migration in self.due(from) {
            step(&transaction, migration).await?;
        }
        Ok(transaction.rollback().await?)
    }

    /// Brings the database up to date.
    ///
    /// # Errors
    /// [`MigrationError`]; a failed step leaves nothing behind.
    pub async fn run(&self, pool: &Pool) -> Result<Outcome, MigrationError> {
        let mut client = connection(pool).await?;
        // A start on an up-to-date database takes no lock.
        let from = self.current_version(&**client).await?;
        let mut outcome = Outcome::UpToDate;
        for migration in self.due(from) {
            let transaction = client.transaction().await?;
            prepare(&transaction).await?;
            // Another replica may have come first, with this step or with all.
            let current = self.current_version(&*transaction).await?;
            if current >= migration.version {
                continue;
            }
            self.check_names(&*transaction, current).await?;
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

    /// The database's version; 0 if no rollcall has migrated it.
    ///
    /// # Errors
    /// [`MigrationError::TooNew`], [`MigrationError::Failed`].
    pub async fn version(&self, pool: &Pool) -> Result<i32, MigrationError> {
        self.current_version(&**connection(pool).await?).await
    }

    /// Checks that the database is up to date, for commands that do not migrate it.
    ///
    /// # Errors
    /// [`MigrationError::TooOld`] where it is not, [`MigrationError`].
    pub async fn demand(&self, pool: &Pool) -> Result<(), MigrationError> {
        let (found, latest) = (self.version(pool).await?, self.latest());
        if found == latest { Ok(()) } else { Err(MigrationError::TooOld { found, latest }) }
    }

    fn due(&self, from: i32) -> impl Iterator<Item = &'static Migration> {
        self.steps.iter().copied().filter(move |step| step.version > from)
    }

    /// The version recorded in the database, 0 where none is.
    async fn current_version(&self, client: &impl GenericClient) -> Result<i32, MigrationError> {
        if !exists(client, "rollcall_migrations").await? {
            return Ok(0);
        }
        let row = client.query_typed_one("SELECT coalesce(max(version), 0) FROM rollcall_migrations", &[]).await?;
        let found: i32 = row.try_get(0)?;
        if found > self.latest() {
            return Err(MigrationError::TooNew { found, latest: self.latest() });
        }
        if found > 0 && !exists(client, "users").await? {
            return Err(MigrationError::UsersMissing);
        }
        Ok(found)
    }

    /// Checks that all names are free that the due steps need: steps before a failed one would stay.
    async fn check_names(&self, client: &impl GenericClient, from: i32) -> Result<(), MigrationError> {
        for table in self.due(from).flat_map(|step| step.tables) {
            // A table of another schema on the search path is shadowed, not taken.
            let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class
                WHERE relname = $1 AND relnamespace = current_schema()::regnamespace)";
            if client.query_typed_one(sql, &[(table, Type::TEXT)]).await?.try_get(0)? {
                return Err(MigrationError::NameTaken { table });
            }
        }
        Ok(())
    }
}

async fn connection(pool: &Pool) -> Result<Client, MigrationError> {
    pool.get().await.map_err(|error| MigrationError::Failed(root_cause(&error)))
}

/// Waits for other replicas' steps. All settings of the session end with the transaction, because a proxy may run the
/// next one in another session.
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

/// Runs and records one step; returns whether it adopted an existing table of users.
async fn step(transaction: &Transaction<'_>, migration: &Migration) -> Result<bool, MigrationError> {
    if !exists(&**transaction, "rollcall_migrations").await? {
        transaction.batch_execute(RECORDS).await?;
    }
    let adopts = migration.version == 1 && exists(&**transaction, "users").await?;
    if adopts {
        adoption::check(&**transaction).await?;
    } else {
        transaction.batch_execute(migration.sql).await?;
    }
    let record = "INSERT INTO rollcall_migrations (version, name) VALUES ($1, $2)";
    transaction.execute_typed(record, &[(&migration.version, Type::INT4), (&migration.name, Type::TEXT)]).await?;
    Ok(adopts)
}

async fn exists(client: &impl GenericClient, table: &str) -> Result<bool, MigrationError> {
    // Reads the catalog's rows. to_regclass() uses the session's cache, which may miss tables that were committed while
    // the session waited for the lock.
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relname = $1 AND pg_table_is_visible(oid))";
    Ok(client.query_typed_one(sql, &[(&table, Type::TEXT)]).await?.try_get(0)?)
}
