//! The rate limits in `[limits]`, and the proxies that may say whom they count for.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::ExposeSecret;

use super::layers::Layers;
use super::{ConfigError, Rate, Rates};

const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);
/// Beyond that, a rate limits nothing that one machine could serve.
const COUNT_MAX: u32 = 1_000_000;
const PROXIES: &str = "server.trusted_proxies";

impl Rates {
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
        Ok(Self {
            register: rate(layers, ["limits.register_per_minute", "limits.register_burst"], MINUTE)?,
            login: rate(layers, ["limits.login_per_minute", "limits.login_burst"], MINUTE)?,
            profile: rate(layers, ["limits.profile_per_second", "limits.profile_burst"], SECOND)?,
            other: rate(layers, ["limits.other_per_second", "limits.other_burst"], SECOND)?,
            keys_max: layers.number("limits.keys_max", 1..=100_000_000)?,
            redis_url,
            redis_timeout: layers.millis("limits.redis_timeout_ms")?,
        })
    }
}

fn rate(layers: &Layers, [count, burst]: [&'static str; 2], time: Duration) -> Result<Option<Rate>, ConfigError> {
    let count = layers.number(count, 0..=COUNT_MAX)?;
    let burst = layers.number(burst, 1..=COUNT_MAX)?;
    let rate = |burst| time.checked_div(count).map(|period| Rate { period, burst });
    Ok(NonZeroU32::new(burst).and_then(rate))
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
