//! The common parts of the test binaries: a PostgreSQL server, services in this process, programs in others, and
//! clients for both.
//!
//! Each binary includes it once. Parts that only the fault tests or only the tests with foreign tools need are in their
//! `harness`.

pub mod api;
pub mod app;
pub mod postgres;
pub mod program;
pub mod redis;
pub mod scratch;
pub mod tls;
pub mod wire;

use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

pub use api::{Answer, Api};
pub use app::TestApp;
pub use futures_util::future::join_all;
pub use postgres::TestDatabase;
pub use program::Home;
pub use wire::Wire;

/// HS256 key of every service under test.
pub const SECRET: &str = "a-secret-of-the-tests-that-is-long-enough";
pub const NAME: &str = "John Doe";
pub const EMAIL: &str = "john.doe@example.com";
pub const PASSWORD: &str = "SecurePass123";

/// Deadline of every wait in a test. On the slowest machine, no wait of a passing test takes that long.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Awaits `future`; fails the test after [`PATIENCE`], so that a test never hangs.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: nothing after {PATIENCE:?}"))
}

/// Waits until `condition` holds. The pause between two checks bounds the load, not the outcome.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Reports the calling test as skipped, and counts it: a line in the file `skipped` beside the build.
pub fn skip(why: &str) {
    println!("skipped: {why}");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
    let mut file = File::options().create(true).append(true).open(target.join("skipped")).unwrap();
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // One write, because other tests may skip at the same time.
    file.write_all(format!("{test}: {why}\n").as_bytes()).unwrap();
}
