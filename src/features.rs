//! The capabilities, a folder each, with the same file names in all of them.
//!
//! A feature is built from the rooms below and from the handles of other features, which [`crate::app::features`]
//! passes to it. Its [`Manifest`] is constant; building it gives its handle and a [`Feature`] to start and to serve.

pub mod accounts;
pub mod audit;
pub mod login;
pub mod passwords;
pub mod status;
pub mod tokens;

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;

use secrecy::SecretString;

use crate::actors::{CallError, Child};
use crate::config::Config;
use crate::crypto::pseudonym::Pseudonyms;
use crate::database::migrations::{Migration, Schema};
use crate::database::statements::Statements;
use crate::database::{Database, DatabaseError, Pool};
use crate::http::admin::Readiness;
use crate::http::endpoint::Endpoint;
use crate::http::error::Refusal;
use crate::telemetry::Registry;

/// What features are built from, beside the handles of others.
pub(crate) struct Kit<'a> {
    /// The configuration.
    pub(crate) config: &'a Config,
    /// Connections to the database.
    pub(crate) pool: Pool,
    /// How statements are run and counted.
    pub(crate) statements: Statements,
    /// Makes pseudonyms of addresses and networks.
    pub(crate) pseudonyms: Arc<Pseudonyms>,
    /// Where metrics are registered.
    pub(crate) registry: Registry,
}

/// The constants of a capability, which exist before anything is built.
#[derive(Debug)]
pub struct Manifest {
    /// Its steps of the schema. All features' steps are merged by their numbers.
    pub migrations: &'static [Migration],
    /// Kinds of audit events that it writes.
    pub events: &'static [&'static str],
    /// Its lines of `rollcall check`.
    pub checks: &'static [Check],
}

/// A line of `rollcall check`.
#[derive(Debug)]
pub struct Check {
    /// The first word of the line.
    pub name: &'static str,
    /// Returns the rest of the line, or why the service would not start.
    pub run: for<'a> fn(Checked<'a>) -> CheckAnswer<'a>,
}

/// The result of a [`Check`].
pub type CheckAnswer<'a> = Pin<Box<dyn Future<Output = Result<String, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// The input of checks: an up-to-date database, and the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Checked<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Connections to the database.
    pub pool: &'a Pool,
    /// The secret that tokens are signed with.
    pub secret: &'a SecretString,
    /// The registry for metrics.
    pub registry: &'a Registry,
}

/// The manifests of all capabilities that have one.
const MANIFESTS: [&Manifest; 4] = [&accounts::MANIFEST, &login::MANIFEST, &tokens::MANIFEST, &audit::MANIFEST];

/// The schema of all capabilities together.
#[must_use]
pub fn schema() -> Schema {
    Schema::new(MANIFESTS.iter().flat_map(|manifest| manifest.migrations))
}

/// All kinds of audit events.
pub fn event_kinds() -> impl Iterator<Item = &'static str> {
    MANIFESTS.iter().flat_map(|manifest| manifest.events).copied()
}

/// All lines of `rollcall check`.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    MANIFESTS.iter().flat_map(|manifest| manifest.checks)
}

/// Opens the database for a command, and closes it after `work`. The schema has to be up to date.
pub(crate) async fn with_database<T, E: From<DatabaseError>>(
    config: &Config,
    work: impl AsyncFnOnce(&Database) -> Result<T, E>,
) -> Result<T, E> {
    let database = Database::open(&config.database, &config.data_dir).await?;
    let done = match schema().demand(&database.pool).await {
        Ok(()) => work(&database).await,
        Err(error) => Err(DatabaseError::from(error).into()),
    };
    database.close().await;
    done
}

/// The parts of a capability beside its handle.
#[derive(Default)]
pub struct Feature {
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Its actors, which the supervisor starts and restarts.
    pub children: Vec<Child>,
    /// Bring gauges up to date before metrics are read.
    pub reports: Vec<Box<dyn Fn() + Send + Sync>>,
    /// Paths below `/readyz` that say whether it could take more work.
    pub readiness: Vec<Readiness>,
}

impl Feature {
    /// Adds the parts of `other`.
    pub(crate) fn extend(&mut self, other: Self) {
        let Self { endpoints, children, reports, readiness } = other;
        self.endpoints.extend(endpoints);
        self.children.extend(children);
        self.reports.extend(reports);
        self.readiness.extend(readiness);
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Gone | CallError::TimedOut => Self::UNAVAILABLE,
        }
    }
}
