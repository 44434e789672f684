//! Every capability of the service, built in the order in which they need each other: a few lines for each.

use std::sync::Arc;

use crate::database::{Pool, StatementMetrics};
use secrecy::SecretString;

use super::{AppError, assembly, secret};
use crate::config::Config;
use crate::database;
use crate::database::statements::Statements;
use crate::features::accounts::handle::UserHandle;
use crate::features::audit::handle::AuditHandle;
use crate::features::login::handle::AttemptsHandle;
use crate::features::passwords::handle::HasherHandle;
use crate::features::tokens::handle::{KeyMetrics, Keyring, TokenHandle};
use crate::features::tokens::store::KeyStore;
use crate::features::{Feature, Kit, accounts, audit, login, passwords, status, tokens};
use crate::hashing::engine::Engines;
use crate::http::docs;
use crate::http::endpoint::Endpoint;
use crate::telemetry::{Registry, TelemetryError};

/// The handles of all features, cheap to clone.
#[derive(Debug, Clone)]
pub struct Handles {
    /// Users and their persistence.
    pub users: UserHandle,
    /// Attempts to log in.
    pub attempts: AttemptsHandle,
    /// Password hashing.
    pub hasher: HasherHandle,
    /// Tokens.
    pub tokens: TokenHandle,
    /// The audit log.
    pub audit: AuditHandle,
}

/// All features, not started yet.
pub(super) struct Features {
    pub(super) handles: Handles,
    pub(super) all: Feature,
}

/// Builds all features, in the order in which they need each other.
pub(super) fn build(kit: &Kit<'_>, keyring: Keyring, engines: Engines) -> Result<Features, TelemetryError> {
    let (audit, audit_log) = audit::build(kit)?;
    let (hasher, passwords) = passwords::build(kit, engines)?;
    let (tokens, token_keys) = tokens::build(keyring);
    let (users, accounts) = accounts::build(kit, &hasher, &tokens);
    let (attempts, login) = login::build(kit, &users, &hasher, &tokens)?;
    let mut all = Feature::default();
    for feature in [accounts, login, passwords, token_keys, audit_log, status::build()] {
        all.extend(feature);
    }
    Ok(Features { handles: Handles { users, attempts, hasher, tokens, audit }, all })
}

/// The common parts that features are built from.
pub(super) fn kit<'a>(
    config: &'a Config,
    pool: Pool,
    secret: &SecretString,
    registry: Registry,
) -> Result<Kit<'a>, TelemetryError> {
    let statements = Statements::new(&config.database, &StatementMetrics::register(&registry)?);
    let pseudonyms = Arc::new(secret::pseudonyms(config, secret));
    Ok(Kit { config, pool, statements, pseudonyms, registry })
}

/// The OpenAPI document of a service that does not run.
///
/// # Errors
/// It can't be made.
pub fn openapi_json() -> Result<String, AppError> {
    let config = Config::with(&[]).map_err(assembly)?;
    let no_secret = SecretString::default();
    let registry = Registry::new()?;
    let pool = database::unconnected(&config.database)?;
    let store = KeyStore::new(pool.clone(), tokens::KEYS_TIMEOUT);
    let keyring = Keyring::of_secret(&no_secret, &config.tokens, store, KeyMetrics::register(&registry)?)?;
    let engines = Engines::start(&config.hashing, passwords::engine_panics(&registry)?)?;
    let kit = kit(&config, pool, &no_secret, registry)?;
    let specs: Vec<_> = build(&kit, keyring, engines)?.all.endpoints.iter().filter_map(Endpoint::spec).collect();
    docs::openapi_json(&specs).map_err(assembly)
}
