//! HTTPS as tools see it that others wrote: an ACME authority (pebble), a load generator (h2load), an examiner (testssl.sh).
//!
//! Each test has the real program in a process of its own, with a private PostgreSQL cluster. All of it stays on loopback.
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

mod acme;
mod h2load;
mod idle;
mod testssl;
