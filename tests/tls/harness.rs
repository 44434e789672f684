//! What these tests stand on: the harness of `tests/api`, and tools in processes of their own.

#[path = "../api/harness/api.rs"]
#[allow(dead_code, reason = "shared with tests/api, which uses more of it")]
pub mod api;
pub mod pebble;
#[path = "../api/harness/program.rs"]
#[allow(dead_code, reason = "shared with tests/api, which uses more of it")]
pub mod program;
#[path = "../api/harness/scratch.rs"]
pub mod scratch;
#[path = "../api/harness/tls.rs"]
#[allow(dead_code, reason = "shared with tests/api, which uses more of it")]
pub mod tls;
#[path = "../api/harness/wire.rs"]
#[allow(dead_code, reason = "shared with tests/api, which uses more of it")]
pub mod wire;

use std::future::Future;
use std::process::Output;
use std::time::Duration;

pub use api::{Answer, Api};
pub use program::{Home, Start};
pub use wire::Wire;

/// HS256 key of every service under test.
pub const SECRET: &str = "a-secret-of-the-tests-that-is-long-enough";
const NAME: &str = "John Doe";
const EMAIL: &str = "john.doe@example.com";
const PASSWORD: &str = "SecurePass123";

/// Nothing that a test waits for takes that long, on however slow a machine; what does is broken.
const PATIENCE: Duration = Duration::from_mins(1);
/// A tool's whole work: testssl.sh makes some thousand handshakes.
const TOOL_PATIENCE: Duration = Duration::from_mins(20);

/// What the shared harness calls a database of a test's own; here each service makes its cluster.
pub enum TestDatabase {}

impl TestDatabase {
    pub fn url(&self) -> String {
        match *self {}
    }
}

/// The outcome of `future`, or a failed test where there is none: a test never hangs.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: nothing after {PATIENCE:?}"))
}

/// Waits until `condition` holds. The pause between two looks bounds the load, not the outcome.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Ports that nobody listens on, for programs that can't pick one themselves.
pub fn free_ports<const N: usize>() -> [u16; N] {
    std::array::from_fn(|_| scratch::free_port())
}

/// Runs a tool to its end.
pub async fn run(tool: &str, args: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(tool);
    command.args(args).kill_on_drop(true).stdin(std::process::Stdio::null());
    let run = tokio::time::timeout(TOOL_PATIENCE, command.output()).await;
    run.unwrap_or_else(|_| panic!("{tool} does not end")).unwrap_or_else(|error| panic!("{tool}: {error}"))
}
