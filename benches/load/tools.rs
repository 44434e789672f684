//! Programs of other packages: wrk, pgbench and john.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Outcome;
use super::process::{command, output};

/// On top of the time that a tool was told to run.
const SLACK: Duration = Duration::from_secs(30);
/// Rounds of john's test hashes: cost 5.
pub(crate) const JOHN_COST: i32 = 5;

/// Where a program is, if it is installed. Debian keeps some outside the users' PATH.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<_> = std::env::split_paths(&path).collect();
    dirs.push("/usr/sbin".into());
    let servers = Path::new("/usr/lib/postgresql").read_dir();
    dirs.extend(servers.into_iter().flatten().flatten().map(|version| version.path().join("bin")));
    dirs.into_iter().map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Requests per second by wrk, which sends what `script` makes.
pub(crate) async fn wrk(
    program: &Path,
    url: &str,
    script: &Path,
    connections: usize,
    window: Duration,
) -> Outcome<f64> {
    let mut wrk = command(program);
    wrk.args(["-t1", "-c", &connections.to_string(), "-d", &format!("{}s", window.as_secs())]);
    // A slow answer is an answer; wrk would count it as an error after two seconds.
    wrk.args(["--timeout", "30s"]).arg("-s").arg(script).arg(url);
    let told = output(&mut wrk, window + SLACK).await?;
    if let Some(words) = told.lines().find(|line| line.contains("Non-2xx") || line.contains("Socket errors")) {
        return Err(format!("wrk: {}", words.trim()).into());
    }
    number_after(&told, "Requests/sec:").ok_or_else(|| "wrk tells no rate".into())
}

/// Statements per second by pgbench with `clients`, over the socket in `dir`.
pub(crate) async fn pgbench(
    program: &Path,
    dir: &Path,
    (user, database): (&str, &str),
    script: &Path,
    clients: usize,
    window: Duration,
) -> Outcome<f64> {
    let mut pgbench = command(program);
    pgbench.args(["-n", "-M", "prepared", "-j2", "-U", user, "-c", &clients.to_string()]);
    pgbench.args(["-T", &window.as_secs().to_string()]).arg("-h").arg(dir).arg("-f").arg(script).arg(database);
    let told = output(&mut pgbench, window + SLACK).await?;
    number_after(&told, "tps =").ok_or_else(|| "pgbench tells no rate".into())
}

/// Hashes per second at [`JOHN_COST`] by one thread of john.
pub(crate) async fn john(program: &Path, window: Duration) -> Outcome<f64> {
    let mut john = command(program);
    john.env("OMP_NUM_THREADS", "1").arg(format!("--test={}", window.as_secs())).arg("--format=bcrypt");
    let told = output(&mut john, window + SLACK).await?;
    number_after(&told, "Raw:").ok_or_else(|| "john tells no rate".into())
}

fn number_after(text: &str, words: &str) -> Option<f64> {
    let (_, rest) = text.split_once(words)?;
    rest.split_whitespace().next()?.parse().ok()
}
