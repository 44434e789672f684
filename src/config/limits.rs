//! `[limits]`: lockouts and rate limits, and the proxies whose headers name the client.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};

use super::layers::Layers;
use super::{ConfigError, DEFAULTS};

const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);
/// Beyond that, a rate limits nothing that one machine could serve.
const COUNT_MAX: u32 = 1_000_000;
/// The rate that is no requests'.
const HANDSHAKE: &str = "handshake";
const PROXIES: &str = "server.trusted_proxies";

/// `[limits]`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Whether any limit is in force.
    pub enabled: bool,
    /// Failed logins to one account from one network that lock it to that network.
    pub lock_after: i32,
    /// Failed logins to one account from any network that lock it to those it has not logged in from lately.
    pub account_lock_after: i32,
    /// Failed logins to one account from one network after which further ones have to pause.
    pub delay_after: i32,
    /// How long a lock lasts.
    pub lock: Duration,
    /// Failures are forgotten after this time without another one.
    pub forget: Duration,
    /// Counters kept at most.
    pub attempts_max: i64,
    /// How many requests a network may make.
    pub rates: Rates,
}

/// The rate limits of `[limits]`.
#[derive(Debug, Clone)]
pub struct Rates {
    /// Of each class of requests that is limited, by the name in its keys.
    pub classes: Vec<(&'static str, Rate)>,
    /// Of TLS handshakes.
    pub handshake: Option<Rate>,
    /// Networks that are counted one by one, of each kind of request.
    pub keys_max: usize,
    /// The Redis server in which replicas share their counts.
    pub redis_url: Option<SecretString>,
    /// Timeout for an answer of Redis.
    pub redis_timeout: Duration,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Time in which it gains one token.
    pub period: Duration,
    /// Most tokens that it holds.
    pub burst: NonZeroU32,
}

impl Limits {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            enabled: layers.switch("limits.enabled")?,
            lock_after: layers.number("limits.lock_after", 1..=10_000)?,
            account_lock_after: layers.number("limits.account_lock_after", 1..=10_000)?,
            delay_after: layers.number("limits.delay_after", 1..=10_000)?,
            lock: Duration::from_secs(layers.number("limits.lock_s", 1..=31_536_000)?),
            forget: Duration::from_secs(layers.number("limits.forget_s", 1..=31_536_000)?),
            attempts_max: layers.number("limits.attempts_max", 1_000..=1_000_000_000)?,
            rates: Rates::read(layers)?,
        })
    }
}

impl Rates {
    /// Whether the configuration has keys for the rate of this name, whatever they are set to.
    #[must_use]
    pub fn has_keys_for(name: &str) -> bool {
        keys().any(|(known, _, _)| known == name)
    }

    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let redis_url = layers.secret("limits.redis_url")?;
        if let Some(url) = &redis_url {
            // The client's words may quote the URL, and so a password.
            if redis::IntoConnectionInfo::into_connection_info(url.expose_secret()).is_err() {
                let mend =
                    "must be redis://[USER:PASSWORD@]HOST[:PORT][/DB], the same with rediss://, or redis+unix:///PATH";
                return Err(layers.refuse("limits.redis_url", mend.to_owned()));
            }
        }
        let rates: Vec<_> = keys().map(|keys| rate(layers, keys)).collect::<Result<_, _>>()?;
        let handshake = rates.iter().find(|(name, _)| *name == HANDSHAKE).and_then(|(_, rate)| *rate);
        let rates = rates.into_iter().filter_map(|(name, rate)| Some((name, rate?)));
        Ok(Self {
            classes: rates.filter(|(name, _)| *name != HANDSHAKE).collect(),
            handshake,
            keys_max: layers.number("limits.keys_max", 1..=100_000_000)?,
            redis_url,
            redis_timeout: layers.millis("limits.redis_timeout_ms")?,
        })
    }
}

/// The names of all rates, as the defaults have them: `NAME_per_minute` or `NAME_per_second`, and the time that they are for.
fn keys() -> impl Iterator<Item = (&'static str, &'static str, Duration)> {
    DEFAULTS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (name, rest) = line.split_once("_per_")?;
        let unit = rest.split_whitespace().next()?;
        match unit {
            "minute" => Some((name, unit, MINUTE)),
            "second" => Some((name, unit, SECOND)),
            _ => None,
        }
    })
}

/// The rate of a name; none where it is 0 times.
fn rate(
    layers: &Layers,
    (name, unit, time): (&'static str, &str, Duration),
) -> Result<(&'static str, Option<Rate>), ConfigError> {
    let count = layers.number(&format!("limits.{name}_per_{unit}"), 0..=COUNT_MAX)?;
    let burst = layers.number(&format!("limits.{name}_burst"), 1..=COUNT_MAX)?;
    let rate = |burst| time.checked_div(count).map(|period| Rate { period, burst });
    Ok((name, NonZeroU32::new(burst).and_then(rate)))
}

/// The networks of `server.trusted_proxies`.
pub(super) fn proxies(layers: &Layers) -> Result<Vec<IpNet>, ConfigError> {
    layers.list(PROXIES)?.into_iter().map(|text| proxy(layers, text)).collect()
}

fn proxy(layers: &Layers, text: &str) -> Result<IpNet, ConfigError> {
    let parsed = text.parse::<IpAddr>().map(|addr| IpNet::from(addr.to_canonical())).or_else(|_| text.parse());
    match parsed {
        Ok(network) if network.prefix_len() == 0 => {
            let mend = format!("must not be {text}: whoever connects could then name any address as its own");
            Err(layers.refuse(PROXIES, mend))
        }
        Ok(network) => Ok(network.trunc()),
        Err(_) => {
            let mend = format!("names {text:?}; give addresses and networks such as 10.0.0.0/8, 2001:db8::1");
            Err(layers.refuse(PROXIES, mend))
        }
    }
}
