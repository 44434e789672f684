//! Tokens: signed for those who have logged in, verified with each request, and the keys of both.

mod actor;
pub mod api;
pub mod claims;
pub mod handle;
mod header;
mod keyring;
mod metrics;
mod ring;
pub mod signing_key;
pub mod store;
mod verified;

use std::sync::Arc;

use super::{Feature, Manifest};
use crate::actors::Current;
use crate::database::migrations::Migration;
use handle::{Keyring, TokenHandle};

/// What it is.
pub(super) const MANIFEST: Manifest = Manifest {
    migrations: &[Migration {
        version: 4,
        name: "create_signing_keys",
        sql: include_str!("../../sql/0004_create_signing_keys.sql"),
        tables: &["signing_keys"],
    }],
    events: &["key_added", "key_retired", "key_rotated", "key_resealed"],
};

/// Builds the handle, and the actor that keeps its keys fresh.
pub(crate) fn build(keyring: Keyring) -> (TokenHandle, Feature) {
    handle::install_crypto();
    let keyring = Arc::new(keyring);
    let actor = Current::vacant();
    let tokens = TokenHandle { actor: actor.clone(), keyring: Arc::clone(&keyring) };
    let endpoints = vec![api::jwks::endpoint(tokens.clone())];
    (tokens, Feature { endpoints, children: vec![actor::child(actor, keyring)] })
}
