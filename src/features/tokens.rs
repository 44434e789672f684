//! Tokens: signed at a login, verified with each request, and their keys.

mod actor;
pub mod api;
pub mod claims;
pub mod cli;
pub mod handle;
mod header;
mod keyring;
mod metrics;
mod ring;
pub mod signing_key;
pub mod store;
pub mod types;
mod verified;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::{Check, Checked, Feature, Manifest};
use crate::actors::Current;
use crate::config::Config;
use crate::database::Pool;
use crate::database::migrations::Migration;
use crate::telemetry::Registry;
use handle::{KeyMetrics, Keyring, KeyringError, TokenHandle};
use store::KeyStore;

/// Its constants.
pub(super) const MANIFEST: Manifest = Manifest {
    migrations: &[Migration {
        version: 4,
        name: "create_signing_keys",
        sql: include_str!("../../sql/0004_create_signing_keys.sql"),
        tables: &["signing_keys"],
    }],
    events: &["key_added", "key_retired", "key_rotated", "key_resealed"],
    checks: &[Check { name: "keys", run: |checked| Box::pin(check(checked)) }],
};

/// Checks that tokens can be signed; describes the key that signs and all keys that verify.
async fn check(
    Checked { config, pool, secret, registry }: Checked<'_>,
) -> Result<String, Box<dyn Error + Send + Sync>> {
    let keyring = open_keyring(config, secret, pool, registry).await?;
    Ok(format!("good ({})", keyring.describe()))
}

/// Reads the keys that tokens are signed and checked with.
///
/// # Errors
/// [`KeyringError`].
pub(crate) async fn open_keyring(
    config: &Config,
    secret: &SecretString,
    pool: &Pool,
    registry: &Registry,
) -> Result<Keyring, KeyringError> {
    let store = KeyStore::new(pool.clone(), config.database.timeout.min(KEYS_TIMEOUT));
    Keyring::open(secret, &config.tokens, store, KeyMetrics::register(registry)?).await
}

/// Longest wait for the table of keys, whatever `database.timeout_ms` is: every replica shall have read it several
/// times before a new key signs (`tokens.publish_s`).
pub(crate) const KEYS_TIMEOUT: Duration = Duration::from_secs(5);

/// Builds the handle, and the actor that keeps its keys fresh.
pub(crate) fn build(keyring: Keyring) -> (TokenHandle, Feature) {
    handle::install_crypto();
    let keyring = Arc::new(keyring);
    let actor = Current::vacant();
    let tokens = TokenHandle { actor: actor.clone(), keyring: Arc::clone(&keyring) };
    let endpoints = vec![api::jwks::endpoint(tokens.clone())];
    (tokens, Feature { endpoints, children: vec![actor::child(actor, keyring)], ..Feature::default() })
}
