//! Accounts: who has one, and what is known of them.
//!
//! The user actor owns whose turn it is to use the database; lookups and writes gather beside it and leave in batches.

pub mod api;
pub mod handle;
mod store;
pub mod types;

use std::sync::Arc;

use super::{Feature, Manifest};
use crate::actors::batcher::Plan;
use crate::config;
use crate::crypto::pseudonym::Pseudonyms;
use crate::database::migrations::Migration;
use crate::database::statements::Statements;
use crate::database::{Pool, StatementMetrics};
use handle::{GRACE, UserHandle};
use store::{AccountsByEmail, Insert, ReplaceHash, Users, UsersById};

/// What it is.
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
pub(crate) fn build(
    pool: Pool,
    config: &config::Database,
    pseudonyms: &Arc<Pseudonyms>,
    metrics: &StatementMetrics,
) -> (UserHandle, Feature) {
    let users = Users { pool, statements: Statements::new(config, metrics) };
    let mut plan = Plan::new(config.batch_max, config.timeout + GRACE).group(config.read_batches);
    let by_id = plan.add(UsersById(users.clone()));
    let by_email = plan.add(AccountsByEmail(users.clone()));
    let mut plan = plan.group(config.write_batches);
    let inserts = plan.add(Insert(users.clone()));
    let hashes = plan.add(ReplaceHash(users));
    let handle = UserHandle { by_id, by_email, inserts, hashes, pseudonyms: Arc::clone(pseudonyms) };
    (handle, Feature { children: vec![plan.child("user")], ..Feature::default() })
}
