//! What the fault tests stand on: servers that can be killed and frozen, and clients that note every answer.
//!
//! The search for PostgreSQL and the user that it runs as are the service's own, which no other crate can name.

#[path = "../../src/database/local/binaries.rs"]
#[allow(dead_code, reason = "shared with the service, which also names the package to install")]
mod binaries;
pub mod load;
#[path = "../../src/database/local/owner.rs"]
#[allow(dead_code, reason = "shared with the service, which also checks that its directory can be reached")]
mod owner;
pub mod processes;
pub mod proxy;
pub mod server;

use std::time::Duration;

pub use load::{Load, Step};
pub use proxy::Proxy;
pub use server::Server;
pub use server::pooler::Pooler;

pub use crate::shared::support::program::{self, Home, Start};
pub use crate::shared::support::tls::{Authority, Signed};
pub use crate::shared::support::{
    Answer, Api, EMAIL, NAME, PASSWORD, PATIENCE, SECRET, scratch, skip, soon, until, wire,
};

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
