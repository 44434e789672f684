//! Every capability of the service, built in the order in which they need each other: a few lines for each.

use std::sync::Arc;

use crate::database::{Pool, StatementMetrics};
use secrecy::SecretString;

use super::{AppError, assembly, secret};
use crate::config::Config;
use crate::crypto::pseudonym::Pseudonyms;
use crate::database;
use crate::features::accounts::api::{me, register};
use crate::features::accounts::handle::UserHandle;
use crate::features::audit::handle::AuditHandle;
use crate::features::login::api::login as log_in;
use crate::features::login::handle::AttemptsHandle;
use crate::features::passwords::handle::HasherHandle;
use crate::features::tokens::handle::{KeyMetrics, Keyring, TokenHandle};
use crate::features::tokens::store::KeyStore;
use crate::features::{Feature, accounts, audit, login, passwords, status, tokens};
use crate::hashing::engine::Engines;
use crate::http::docs;
use crate::http::endpoint::Endpoint;
use crate::telemetry::{Registry, TelemetryError};

/// What features are built from.
#[derive(Debug)]
pub(super) struct Kit {
    /// Keys of tokens.
    pub(super) keyring: Keyring,
    /// Makes pseudonyms.
    pub(super) pseudonyms: Arc<Pseudonyms>,
    /// Connections to the database.
    pub(super) pool: Pool,
    /// Hash threads.
    pub(super) engines: Engines,
    /// Where metrics are registered.
    pub(super) registry: Registry,
}

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

/// All features: nothing of them runs yet.
pub(super) struct Features {
    pub(super) handles: Handles,
    pub(super) all: Feature,
}

/// Builds all of them.
pub(super) fn build(kit: Kit, config: &Config) -> Result<Features, TelemetryError> {
    let Kit { keyring, pseudonyms, pool, engines, registry } = kit;
    let statements = &StatementMetrics::register(&registry)?;
    let (audit, audit_feature) = audit::build(pool.clone(), config, &pseudonyms, &registry)?;
    let (hasher, passwords) = passwords::build(engines, &config.hashing, &registry)?;
    let (tokens, tokens_feature) = tokens::build(keyring);
    let (users, accounts) = accounts::build(pool.clone(), &config.database, &pseudonyms, statements);
    let (attempts, login) = login::build(pool, config, pseudonyms, (&registry, statements))?;
    let handles = Handles { users, attempts, hasher, tokens, audit };
    let mut all = Feature { endpoints: endpoints(&handles), ..Feature::default() };
    for feature in [accounts, login, passwords, tokens_feature, audit_feature, status::build()] {
        all.extend(feature);
    }
    Ok(Features { handles, all })
}

/// Those that need several features.
fn endpoints(handles: &Handles) -> Vec<Endpoint> {
    let Handles { users, attempts, hasher, tokens, .. } = handles.clone();
    vec![
        register::endpoint(register::Parts { users: users.clone(), hasher: hasher.clone() }),
        log_in::endpoint(log_in::Parts { users: users.clone(), attempts, hasher, tokens: tokens.clone() }),
        me::endpoint(users, tokens),
    ]
}

/// The OpenAPI document of a service that does not run.
///
/// # Errors
/// Where it can't be made.
pub fn openapi_json() -> Result<String, AppError> {
    let config = Config::with(&[]).map_err(assembly)?;
    let no_secret = SecretString::default();
    let registry = Registry::new()?;
    let pool = database::unconnected(&config.database)?;
    let store = KeyStore::new(pool.clone(), tokens::KEYS_TIMEOUT);
    let kit = Kit {
        keyring: Keyring::of_secret(&no_secret, &config.tokens, store, KeyMetrics::register(&registry)?)?,
        pseudonyms: Arc::new(secret::pseudonyms(&config, &no_secret)),
        pool,
        engines: Engines::start(&config.hashing, passwords::engine_panics(&registry)?)?,
        registry,
    };
    let specs: Vec<_> = build(kit, &config)?.all.endpoints.iter().filter_map(Endpoint::spec).collect();
    docs::openapi_json(&specs).map_err(assembly)
}
