//! Token buckets in a Redis that all replicas share.
//!
//! One atomic step of a script takes a token, by Redis's own clock: replicas whose clocks differ count alike. A key holds the
//! time at which its bucket is full again and expires then. Its name has the network's pseudonym, not the address.
//!
//! A call that fails or is late drops the connection. From then on each replica counts its own requests, without
//! waiting, until [`Shared::run`] has a new connection on which it could take a token.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Script};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use tokio::time::{sleep, timeout};

use super::Decision;
use super::metrics::LimitMetrics;
use crate::config::Rate;
use crate::crypto::pseudonym::Pseudonyms;
use crate::domain::network::Network;

/// The generic cell rate algorithm. A key that holds no number counts as a full bucket. A time further away than a
/// bucket of this size needs to fill up, as after a change of the limits, counts as an empty bucket from now on.
/// Returns 1 and the tokens left, or 0 and the microseconds until the next token.
const TAKE: &str = r"
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local period, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local function keep(full)
    redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
end
local held = redis.pcall('GET', KEYS[1])
local full = type(held) == 'string' and tonumber(held) or now
if not (full >= now) then full = now end
if full > now + period * burst then
    full = now + period * burst
    keep(full)
end
local slack = now + period * (burst - 1) - full
if slack < 0 then return {0, math.ceil(-slack)} end
keep(full + period)
return {1, math.floor(slack / period)}
";
const PREFIX: &str = "rollcall:limit:";
/// Deadline of a connection. It does not follow `limits.redis_timeout_ms`, because no request waits for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause between two probes or attempts to connect. Requests notice a loss at once, a return within this time.
const LOOK: Duration = Duration::from_millis(250);
/// Calls that may be on their way to the connection's task.
const PIPELINE: usize = 4096;

/// Why Redis can't be asked.
#[derive(Debug, Error)]
pub enum SharedError {
    /// The URL is not one of Redis.
    #[error("limits.redis_url cannot be used: {0}; give redis://HOST:PORT, rediss://HOST:PORT or redis+unix:///PATH")]
    Url(RedisError),
    /// It gives no answer, or a wrong one.
    #[error("limits.redis_url: Redis does not answer: {0}; start it, or correct limits.redis_url")]
    Away(#[from] Lost),
}

/// How a call failed.
#[derive(Debug, Error)]
pub enum Lost {
    /// No answer in time.
    #[error("no answer in time")]
    Late,
    /// An error instead of an answer.
    #[error("{0}")]
    Failed(#[from] RedisError),
}

/// The shared buckets.
pub struct Shared {
    client: Client,
    settings: AsyncConnectionConfig,
    timeout: Duration,
    script: Script,
    pseudonyms: Arc<Pseudonyms>,
    link: RwLock<Link>,
    metrics: Arc<LimitMetrics>,
}

/// The current connection and its number: a failure reported late by an older one must not drop it.
#[derive(Default)]
struct Link {
    number: u64,
    connection: Option<MultiplexedConnection>,
    /// Whether its loss has been logged.
    is_logged: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared(…)")
    }
}

impl Shared {
    /// Buckets in the Redis at `url`, which is not asked yet.
    ///
    /// # Errors
    /// [`SharedError::Url`].
    pub fn new(
        url: &SecretString,
        timeout: Duration,
        pseudonyms: Arc<Pseudonyms>,
        metrics: Arc<LimitMetrics>,
    ) -> Result<Self, SharedError> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(CONNECT_TIMEOUT))
            .set_pipeline_buffer_size(PIPELINE);
        metrics.redis_up.set(0);
        Ok(Self {
            client: Client::open(url.expose_secret()).map_err(SharedError::Url)?,
            settings,
            timeout,
            script: Script::new(TAKE),
            pseudonyms,
            link: RwLock::default(),
            metrics,
        })
    }

    /// Whether there is a connection to Redis.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.link.read().unwrap_or_else(PoisonError::into_inner).connection.is_some()
    }

    /// Leaves the decision to this replica, and counts that.
    pub fn pass(&self) -> Option<Decision> {
        self.metrics.redis_fallbacks.inc();
        None
    }

    /// Takes a token; `None` where Redis is lost, now or before.
    pub async fn take(&self, class: &str, rate: Rate, network: Network) -> Option<Decision> {
        let (number, connection) = {
            let link = self.link.read().unwrap_or_else(PoisonError::into_inner);
            (link.number, link.connection.clone())
        };
        let Some(mut connection) = connection else { return self.pass() };
        let key = self.pseudonyms.source_text(network);
        match self.call(&mut connection, class, &key, rate).await {
            Ok(decision) => Some(decision),
            Err(error) => {
                self.mark_lost(number, &error);
                self.pass()
            }
        }
    }

    async fn call(
        &self,
        connection: &mut MultiplexedConnection,
        class: &str,
        source: &str,
        rate: Rate,
    ) -> Result<Decision, Lost> {
        let key = format!("{PREFIX}{class}:{source}");
        // The clock of Redis counts microseconds.
        let period = u64::try_from(rate.period.as_micros()).unwrap_or(u64::MAX).max(1);
        let mut call = self.script.prepare_invoke();
        call.key(key).arg(period).arg(rate.burst.get());
        let (is_allowed, value): (u8, u64) =
            timeout(self.timeout, call.invoke_async(connection)).await.map_err(|_| Lost::Late)??;
        Ok(match is_allowed {
            0 => Decision::Refused { retry_after: Duration::from_micros(value) },
            _ => Decision::Allowed { remaining: u32::try_from(value).unwrap_or(u32::MAX) },
        })
    }

    /// Connects to Redis once.
    pub async fn open(&self) {
        if let Err(error) = self.connect().await {
            let number = self.link.read().unwrap_or_else(PoisonError::into_inner).number;
            self.mark_lost(number, &error);
        }
    }

    /// Probes the connection, or makes a new one, until dropped.
    pub async fn run(&self) {
        loop {
            sleep(LOOK).await;
            let (number, connection) = {
                let link = self.link.read().unwrap_or_else(PoisonError::into_inner);
                (link.number, link.connection.clone())
            };
            let looked = match connection {
                // Notices the loss before a request has to wait for it.
                Some(mut connection) => self.probe(&mut connection).await,
                None => self.connect().await,
            };
            if let Err(error) = looked {
                self.mark_lost(number, &error);
            }
        }
    }

    /// Asks the Redis that `limits.redis_url` leads to, as a request would.
    ///
    /// # Errors
    /// [`SharedError::Away`].
    pub async fn check(&self) -> Result<(), SharedError> {
        Ok(self.connect().await?)
    }

    async fn connect(&self) -> Result<(), Lost> {
        let connecting = self.client.get_multiplexed_async_connection_with_config(&self.settings);
        let mut connection = timeout(2 * CONNECT_TIMEOUT, connecting).await.map_err(|_| Lost::Late)??;
        self.probe(&mut connection).await?;
        let mut link = self.link.write().unwrap_or_else(PoisonError::into_inner);
        *link = Link { number: link.number + 1, connection: Some(connection), is_logged: false };
        drop(link);
        self.metrics.redis_up.set(1);
        tracing::info!("Redis answers: limits count for all replicas together");
        Ok(())
    }

    /// Takes a token from a bucket that is never empty. As this writes, it fails on a read-only Redis, too.
    async fn probe(&self, connection: &mut MultiplexedConnection) -> Result<(), Lost> {
        let rate = Rate { period: Duration::from_micros(1), burst: std::num::NonZeroU32::MIN };
        self.call(connection, "probe", "", rate).await.map(drop)
    }

    fn mark_lost(&self, number: u64, error: &Lost) {
        let mut link = self.link.write().unwrap_or_else(PoisonError::into_inner);
        if link.number != number {
            return;
        }
        link.connection = None;
        let is_logged = std::mem::replace(&mut link.is_logged, true);
        drop(link);
        self.metrics.redis_up.set(0);
        if !is_logged {
            tracing::warn!(%error, "Redis is lost: until it is back, limits count on this replica alone");
        }
    }
}
