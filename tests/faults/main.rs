//! What happens when something fails: the service, its database, the way between them, or a part inside, always under load.
//!
//! Each test has PostgreSQL servers of its own, started from the installed binaries, and the real program in a process of
//! its own. Needs Linux: the processes of a server are found in `/proc`. Tests wait on conditions; only what is a fault's own
//! duration is waited for by the clock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a test that panics has said what it had to say, and nobody reads the documentation of a test"
)]

mod harness;
/// Shared with the other test binaries; by this way its own modules lie in its own directory.
#[path = ".."]
mod shared {
    #[allow(dead_code, unused_imports, reason = "shared with tests/api, which uses more of it")]
    pub mod support;
}

mod actors;
mod balancer;
mod cluster;
mod crash;
mod failover;
mod hostile;
mod limits;
mod network;
mod outage;
mod pooler;
mod refusals;
mod starts;
mod timing;
mod tls;
