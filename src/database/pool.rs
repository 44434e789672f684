//! The pool: its size, its deadlines, and the settings of each connection.

use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Object, Timeouts};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::DatabaseError;
use super::hosts::Hosts;
use super::manager::{Check, Manager};
use super::tls::{self, TlsError};
use crate::config::{self, Plans, Statements, Tls};

/// The pool of connections.
pub type Pool = deadpool::managed::Pool<Manager>;
/// A connection of the pool, which goes back to it when dropped.
pub type Client = Object<Manager>;

/// How often idle connections beyond `database.pool_kept` are closed.
const SHRINK_EVERY: Duration = Duration::from_secs(30);

/// A pool of connections to the server, or to the one of several that takes writes.
pub(super) fn build(mut settings: Config, config: &config::Database) -> Result<Pool, DatabaseError> {
    if settings.get_connect_timeout().is_none() {
        settings.connect_timeout(config.connect_timeout);
    }
    if settings.get_application_name().is_none() {
        settings.application_name("rollcall");
    }
    // With several hosts, a host that refuses writes is a standby.
    let count = settings.get_hosts().len().max(settings.get_hostaddrs().len());
    if count > 1 && settings.get_target_session_attrs() == TargetSessionAttrs::Any {
        settings.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    let must_write = settings.get_target_session_attrs() == TargetSessionAttrs::ReadWrite;
    let manager = Manager::new(hosts(&mut settings, config)?, Check::new(must_write, config.timeout));
    Pool::builder(manager)
        .max_size(config.pool_size)
        .runtime(Runtime::Tokio1)
        // Connecting and checking have time limits of their own, the former one for each address.
        .timeouts(Timeouts { wait: Some(config.timeout), create: None, recycle: None })
        .build()
        .map_err(|error| DatabaseError::Url { key: "database.pool_size", cause: error.to_string() })
}

/// The hosts of the URL, with the deadline of each.
fn hosts(settings: &mut Config, config: &config::Database) -> Result<Hosts, TlsError> {
    // Behind a proxy, settings would stay with a connection that others use as well.
    let opening = match config.statements {
        Statements::Named => Some(opening(config)),
        Statements::Unnamed => None,
    };
    let limit = settings.get_connect_timeout().copied().unwrap_or(config.connect_timeout);
    let tls = encryption(settings, config)?;
    Ok(Hosts::new(settings, tls, opening, limit))
}

/// The settings of a connection. The server gives up when the caller does, so that an abandoned statement holds no
/// lock. A statement is planned once: for arrays of few values PostgreSQL would plan it each time, which costs more
/// than running it. A plan that was made for a small table is kept while the table grows, so no plan may scan all of
/// it. Ruling that out raises the plan's cost, for which PostgreSQL 11 and later would compile it, so that is off as
/// well. Bitmap scans pay only for thousands of rows, and a batch has few.
fn opening(config: &config::Database) -> String {
    let timeout = config.timeout.as_millis();
    if config.plans == Plans::Auto {
        return format!("SET statement_timeout = {timeout}");
    }
    format!(
        "SET statement_timeout = {timeout};
        SET enable_seqscan = off;
        SET enable_bitmapscan = off;
        SELECT set_config(name, value, false)
        FROM (VALUES ('jit', 'off'), ('plan_cache_mode', 'force_generic_plan')) AS wanted (name, value)
        WHERE current_setting(name, true) IS NOT NULL"
    )
}

/// The encryption of connections; `None` where every server is reached by a socket.
pub(super) fn encryption(
    settings: &mut Config,
    config: &config::Database,
) -> Result<Option<MakeRustlsConnect>, TlsError> {
    let hosts = settings.get_hosts();
    if !hosts.is_empty() && hosts.iter().all(|host| matches!(host, Host::Unix(_))) {
        return Ok(None);
    }
    if config.tls == Tls::VerifyFull {
        settings.ssl_mode(SslMode::Require);
    }
    if settings.get_ssl_mode() == SslMode::Disable {
        return Ok(None);
    }
    tls::connector(config).map(Some)
}

/// Closes idle connections beyond `kept` at intervals, for as long as the pool is open.
pub async fn shrink(pool: Pool, kept: usize) {
    let mut rounds = tokio::time::interval(SHRINK_EVERY);
    while !pool.is_closed() {
        rounds.tick().await;
        let mut spare = pool.status().size.saturating_sub(kept);
        pool.retain(|_, metrics| {
            let drop = spare > 0 && metrics.last_used() >= SHRINK_EVERY;
            spare -= usize::from(drop);
            !drop
        });
    }
}
