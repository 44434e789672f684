//! What the test binaries stand on: a PostgreSQL server, services in this process, programs in others, and clients for both.
//!
//! Each binary includes it once. What only the fault tests or only the tests with foreign tools need is in their `harness`.

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

/// Nothing that a test waits for takes that long, on however slow a machine; what does is broken.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The outcome of `future`, or a failed test where there is none: a test never hangs.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: nothing after {PATIENCE:?}"))
}

/// Waits until `condition` holds. The pause between two looks bounds the load, not the outcome.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Says that the test which calls this can't show anything here, and counts it: a line for each in `skipped` beside the build.
pub fn skip(why: &str) {
    println!("skipped: {why}");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
    let mut file = File::options().create(true).append(true).open(target.join("skipped")).unwrap();
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // One write, because other tests may skip at the same time.
    file.write_all(format!("{test}: {why}\n").as_bytes()).unwrap();
}
