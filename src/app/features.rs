//! Every endpoint of the service: a line for each capability.

use std::sync::Arc;

use secrecy::SecretString;

use super::{AppError, KEYS_TIMEOUT, assembly, pseudonyms};
use crate::actors::{self, Handles, Keyring, Supplies};
use crate::config::Config;
use crate::database;
use crate::database::keys::KeyStore;
use crate::hashing::engine::Engines;
use crate::http::endpoint::Endpoint;
use crate::http::{docs, handlers};
use crate::telemetry::Metrics;

/// The endpoints, with those of their documents where these are wished.
#[must_use]
pub fn endpoints(handles: &Handles, config: &Config) -> Vec<Endpoint> {
    let mut endpoints = handlers::endpoints(handles);
    if config.server.docs {
        endpoints.extend(docs::endpoints(&endpoints));
    }
    endpoints
}

/// The OpenAPI document of a service that does not run.
///
/// # Errors
/// Where it can't be made.
pub fn openapi_json() -> Result<String, AppError> {
    let config = Config::with(&[]).map_err(assembly)?;
    let secret = SecretString::default();
    let metrics = Arc::new(Metrics::new()?);
    let pool = database::unconnected(&config.database)?;
    let store = KeyStore::new(pool.clone(), KEYS_TIMEOUT);
    let supplies = Supplies {
        keyring: Keyring::of_secret(&secret, &config.tokens, store, &metrics)?,
        pseudonyms: Arc::new(pseudonyms(&config, &secret)),
        pool,
        engines: Engines::start(&config.hashing, metrics.hash_engine_panics.clone())?,
        metrics,
    };
    let endpoints = handlers::endpoints(&actors::build(&config, supplies).handles);
    let specs: Vec<_> = endpoints.iter().filter_map(Endpoint::spec).collect();
    docs::openapi_json(&specs).map_err(assembly)
}
