//! The service, as its release build.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use super::Outcome;
use super::connection::Connection;
use super::process::{Process, command, output};
use super::users::JWT_SECRET;

/// The program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_rollcall");
/// For `rollcall migrate`.
const MIGRATE_TIMEOUT: Duration = Duration::from_secs(30);

/// A running service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    admin_addr: SocketAddr,
    /// From its start until it listened.
    pub(crate) start_time: Duration,
}

impl Service {
    /// Starts it on a free port, with its data and its log in `dir`; without a `database_url` it makes a cluster there.
    pub(crate) async fn start(dir: &Path, database_url: Option<&str>) -> Outcome<Self> {
        Self::start_with(dir, database_url, &[]).await
    }

    /// The same with settings of its own, as environment variables.
    pub(crate) async fn start_with(dir: &Path, database_url: Option<&str>, own: &[(&str, &str)]) -> Outcome<Self> {
        let admin_addr = free_addr()?;
        let mut serve = settings(dir, database_url);
        serve.envs(own.iter().copied());
        serve.env("API_PORT", "0").env("ROLLCALL__TELEMETRY__ADMIN_ADDR", admin_addr.to_string());
        let started = Instant::now();
        let mut process = Process::start(serve, &dir.join("service.log"))?;
        let addr = process.listening().await?;
        Ok(Self { process, addr, admin_addr, start_time: started.elapsed() })
    }

    /// All metrics, as they are now.
    pub(crate) async fn metrics(&self) -> Outcome<Metrics> {
        let mut connection = Connection::open(self.admin_addr).await?;
        let answer = connection.exchange(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
        Ok(Metrics(String::from_utf8_lossy(answer.body).into_owned()))
    }
}

/// Brings a database's schema up to date.
pub(crate) async fn migrate(dir: &Path, database_url: &str) -> Outcome<()> {
    output(settings(dir, Some(database_url)).arg("migrate"), MIGRATE_TIMEOUT).await.map(drop)
}

fn settings(dir: &Path, database_url: Option<&str>) -> tokio::process::Command {
    let mut rollcall = command(PROGRAM);
    rollcall.current_dir(dir).env("ROLLCALL__DATA_DIR", dir).env("API_HOST", "127.0.0.1").env("JWT_SECRET", JWT_SECRET);
    rollcall.env("ROLLCALL__LIMITS__ENABLED", "false").env("ROLLCALL__TELEMETRY__LOG_FILTER", "warn");
    rollcall.envs(database_url.map(|url| ("DATABASE_URL", url)));
    rollcall
}

/// An address that nobody listens on.
pub(crate) fn free_addr() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

/// A page of metrics.
#[derive(Debug)]
pub(crate) struct Metrics(String);

impl Metrics {
    /// The value of one, named with its labels as on the page; 0 where it is not there yet.
    pub(crate) fn value(&self, name: &str) -> f64 {
        let mut values = self.0.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        values.next().and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    /// The mean of what a histogram has observed since `earlier`, not a number where that is nothing.
    pub(crate) fn mean_since(&self, earlier: &Self, histogram: &str, labels: &str) -> f64 {
        let grown = |part: &str| {
            let name = format!("{histogram}_{part}{labels}");
            self.value(&name) - earlier.value(&name)
        };
        grown("sum") / grown("count")
    }
}
