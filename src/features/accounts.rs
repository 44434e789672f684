//! Accounts: registration, lookups, and the stored hashes.
//!
//! The user actor owns permits and turns; lookups and writes gather beside it and leave in batches.

pub mod api;
pub mod handle;
mod store;
pub mod types;

use std::sync::Arc;

use super::{Feature, Kit, Manifest};
use crate::actors::batcher::Plan;
use crate::database::migrations::Migration;
use crate::features::passwords::handle::HasherHandle;
use crate::features::tokens::handle::TokenHandle;
use handle::{GRACE, UserHandle};
use store::{AccountsByEmail, Insert, ReplaceHash, Users, UsersById};

/// Its constants.
pub(super) const MANIFEST: Manifest = Manifest {
    migrations: &[Migration {
        version: 1,
        name: "create_users",
        sql: include_str!("../../sql/0001_create_users.sql"),
        tables: &[],
    }],
    events: &["registered", "hash_upgraded"],
    checks: &[],
};

/// Builds the handle, and the actor behind it.
pub(crate) fn build(kit: &Kit<'_>, hasher: &HasherHandle, tokens: &TokenHandle) -> (UserHandle, Feature) {
    let config = &kit.config.database;
    let users = Users { pool: kit.pool.clone(), statements: kit.statements.clone() };
    let mut plan = Plan::new(config.batch_max, config.timeout + GRACE).group(config.read_batches);
    let by_id = plan.add(UsersById(users.clone()));
    let by_email = plan.add(AccountsByEmail(users.clone()));
    let mut plan = plan.group(config.write_batches);
    let inserts = plan.add(Insert(users.clone()));
    let new_hashes = plan.add(ReplaceHash(users));
    let handle = UserHandle { by_id, by_email, inserts, hashes: new_hashes, pseudonyms: Arc::clone(&kit.pseudonyms) };
    let endpoints = api::endpoints(&handle, hasher, tokens);
    (handle, Feature { endpoints, children: vec![plan.child("user")], ..Feature::default() })
}
