//! The pool: how many connections, how long each step may take, and which idle one is used again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Metrics, Pool, RecyclingMethod, Runtime, Timeouts,
};
use tokio::time::timeout;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::hosts::Hosts;
use super::tls::{self, TlsError};
use super::{DatabaseError, is_read_only};
use crate::config::{self, Plans, Statements, Tls};

/// A connection that has been idle for longer is checked before use; one that was in use just now has just been checked.
const CHECK_AFTER_IDLE: Duration = Duration::from_millis(500);
/// The share of a statement's time that a check may take: where it fails, there is time to connect anew and ask.
const CHECK_SHARE: u32 = 4;
/// How often connections beyond `database.pool_kept` are looked for and closed.
const SHRINK_EVERY: Duration = Duration::from_secs(30);

/// A pool of connections to the server, or to whichever of several takes writes.
pub(super) fn build(mut settings: Config, config: &config::Database) -> Result<Pool, DatabaseError> {
    if settings.get_connect_timeout().is_none() {
        settings.connect_timeout(config.connect_timeout);
    }
    if settings.get_application_name().is_none() {
        settings.application_name("rollcall");
    }
    // Of several hosts, those that refuse writes are standbys.
    let count = settings.get_hosts().len().max(settings.get_hostaddrs().len());
    if count > 1 && settings.get_target_session_attrs() == TargetSessionAttrs::Any {
        settings.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    let check = Arc::new(Check {
        must_write: settings.get_target_session_attrs() == TargetSessionAttrs::ReadWrite,
        limit: config.timeout / CHECK_SHARE,
        lost: Mutex::default(),
    });
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let hosts = hosts(&mut settings, config)?;
    Pool::builder(Manager::from_connect(settings, hosts, recycling))
        .max_size(config.pool_size)
        .runtime(Runtime::Tokio1)
        // Connecting has time limits of its own, one for each address.
        .timeouts(Timeouts { wait: Some(config.timeout), create: None, recycle: Some(config.connect_timeout) })
        .pre_recycle(Hook::async_fn(move |client, metrics| {
            let (check, metrics) = (Arc::clone(&check), *metrics);
            Box::pin(async move { check.pass(client, metrics).await })
        }))
        .build()
        .map_err(|error| DatabaseError::Url { key: "database.pool_size", cause: error.to_string() })
}

/// What opens connections, with the time limit that each begins with.
fn hosts(settings: &mut Config, config: &config::Database) -> Result<Hosts, TlsError> {
    // Behind a proxy, settings would stay with a connection that others use.
    let opening = match config.statements {
        Statements::Named => Some(opening(config)),
        Statements::Unnamed => None,
    };
    let limit = settings.get_connect_timeout().copied().unwrap_or(config.connect_timeout);
    let tls = encryption(settings, config)?;
    Ok(Hosts::new(settings, tls, opening, limit))
}

/// What a connection begins with. The server gives up when the caller does, so that an abandoned statement holds no lock. A
/// statement is planned once: for arrays of few values PostgreSQL would plan it each time, which costs more than to run it. A
/// plan that was made when a table was small is kept while it grows, so none may read all of it; and the cost that rules
/// that out must not look like one that compiling the statement would be worth, on servers that do that (from 11 on). A
/// bitmap of rows to visit is worth making for thousands of them, not for those of one batch.
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

/// How connections are encrypted: not at all where every server is reached by a socket.
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

/// Decides which idle connection may be used again.
struct Check {
    must_write: bool,
    /// For the server to answer.
    limit: Duration,
    /// When a connection was last found to lead nowhere.
    lost: Mutex<Option<Instant>>,
}

impl Check {
    async fn pass(&self, client: &ClientWrapper, metrics: Metrics) -> Result<(), HookError> {
        let used = metrics.recycled.unwrap_or(metrics.created);
        // What lost one has likely lost its neighbours; asking each would cost its time once more.
        if self.lost().is_some_and(|lost| used <= lost) {
            return Err(HookError::message("its neighbour has been lost"));
        }
        if used.elapsed() < CHECK_AFTER_IDLE {
            return Ok(());
        }
        let asked = Instant::now();
        let answer = timeout(self.limit, self.ask(client)).await;
        answer.unwrap_or_else(|_| {
            tracing::warn!("an idle database connection does not answer; it is dropped, and those that are as old");
            *self.lost() = Some(asked);
            Err(HookError::message("no answer"))
        })
    }

    async fn ask(&self, client: &ClientWrapper) -> Result<(), HookError> {
        if !self.must_write {
            return client.simple_query("").await.map(drop).map_err(HookError::Backend);
        }
        if is_read_only(&**client).await.map_err(HookError::Backend)? {
            return Err(HookError::message("the server takes no writes any more"));
        }
        Ok(())
    }

    fn lost(&self) -> MutexGuard<'_, Option<Instant>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes idle connections beyond `kept`, now and then, for as long as the pool is open.
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
