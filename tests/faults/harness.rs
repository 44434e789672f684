//! What the fault tests stand on: servers that can be killed and frozen, and clients that note every answer.
//!
//! The client of the API, the program in a process of its own and the scratch directories are those of `tests/api`; the
//! search for PostgreSQL and the user that it runs as are the service's own.

#[path = "../api/harness/api.rs"]
#[allow(dead_code, reason = "shared with tests/api, which uses more of it")]
pub mod api;
#[path = "../../src/database/local/binaries.rs"]
#[allow(dead_code, reason = "shared with the service, which also names the package to install")]
mod binaries;
pub mod certificates;
pub mod load;
#[path = "../../src/database/local/owner.rs"]
#[allow(dead_code, reason = "shared with the service, which also checks that its directory can be reached")]
mod owner;
pub mod processes;
#[path = "../api/harness/program.rs"]
#[allow(dead_code, reason = "shared with tests/api, which uses more of it")]
pub mod program;
pub mod proxy;
#[path = "../api/harness/scratch.rs"]
pub mod scratch;
pub mod server;
#[path = "../api/harness/wire.rs"]
#[allow(dead_code, reason = "shared with tests/api, which uses more of it")]
pub mod wire;

use std::future::Future;
use std::time::Duration;

pub use api::{Answer, Api};
pub use certificates::Authority;
pub use load::{Load, Step};
pub use program::{Home, Start};
pub use proxy::Proxy;
pub use server::Server;
/// The name that the shared harness knows a database by.
use server::Server as TestDatabase;
pub use server::pooler::Pooler;

/// HS256 key of every service under test.
pub const SECRET: &str = "a-secret-of-the-tests-that-is-long-enough";
const NAME: &str = "John Doe";
pub const EMAIL: &str = "john.doe@example.com";
pub const PASSWORD: &str = "SecurePass123";

/// Nothing that a test waits for takes that long, on however slow a machine; what does is broken.
const PATIENCE: Duration = Duration::from_mins(1);

/// `database.timeout_ms` of the services under test: short, so that an outage covers several of them.
pub const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest that any answer may take. A request asks the database once and waits for [`DATABASE_TIMEOUT`], the actor is
/// heard for half a second more, and the rest is for a machine that has other things to do.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(4);

/// The service on `server`, with timeouts that outlast no test.
pub fn serve_on(home: &Home, server: &Server) -> Start {
    serve_at(home, &server.url())
}

/// The service on the database that `url` leads to.
pub fn serve_at(home: &Home, url: &str) -> Start {
    home.serve()
        .env("DATABASE_URL", url)
        .env("JWT_SECRET", SECRET)
        // All load comes from one address.
        .env("ROLLCALL__LIMITS__ENABLED", "false")
        .env("ROLLCALL__DATABASE__TIMEOUT_MS", &DATABASE_TIMEOUT.as_millis().to_string())
        .env("ROLLCALL__TELEMETRY__LOG_FILTER", "warn")
}

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
