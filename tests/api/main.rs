//! Everything that clients and operators may rely on, against the real program and a real PostgreSQL.
//!
//! One binary, one private PostgreSQL server for it, a database for every test. Tests wait on conditions and never sleep.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a test that panics has said what it had to say, and nobody reads the documentation of a test"
)]

/// Shared with the other test binaries; by this way its own modules lie in its own directory.
#[path = ".."]
mod shared {
    pub mod support;
}
use shared::support as harness;

mod actors;
mod adoption;
mod attempts;
mod audit;
mod capacity;
mod certificates;
mod cluster;
mod concurrency;
mod config;
mod connections;
mod cors;
mod documents;
mod drain;
mod hashes;
mod hashing;
mod http;
mod keys;
mod limits;
mod lockout;
mod login;
mod logs;
mod metrics;
mod migrations;
mod networks;
mod plans;
mod properties;
mod proxies;
mod redirect;
mod reference;
mod registration;
#[cfg(target_os = "linux")]
mod session;
mod tls;
mod tokens;
mod upgrades;
mod validation;
