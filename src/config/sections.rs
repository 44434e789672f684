//! The sections whose keys stand for themselves, read from the layers.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::https::Https;
use super::layers::Layers;
use super::{
    Audit, ConfigError, Database, Hashing, Kernel, Limits, LogFormat, PUBLISH_MIN_S, Rates, SECRET_MIN_BYTES, Server,
    Statements, Telemetry, Tls, Tokens, limits,
};
use crate::domain::encryption::{EncryptionKey, EncryptionKeys};
use crate::domain::pseudonym::Disclosure;
use crate::hashing::COST_MAX;
use crate::hashing::mcf::Cost;

impl Server {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            host: layers.text("server.host")?.to_owned(),
            port: layers.number("server.port", 0..=65_535)?,
            max_connections: layers.number("server.max_connections", 1..=1_000_000)?,
            max_connections_per_address: layers.number("server.max_connections_per_address", 1..=1_000_000)?,
            max_in_flight: layers.number("server.max_in_flight", 1..=1_000_000)?,
            header_timeout: layers.millis("server.header_timeout_ms")?,
            body_timeout: layers.millis("server.body_timeout_ms")?,
            write_timeout: layers.millis("server.write_timeout_ms")?,
            header_max_bytes: layers.number("server.header_max_bytes", 8_192..=1_048_576)?,
            body_max_bytes: layers.number("server.body_max_bytes", 1_024..=16_777_216)?,
            drain_timeout: layers.millis("server.drain_timeout_ms")?,
            trusted_proxies: limits::proxies(layers)?,
            https: Https::read(layers)?,
        })
    }
}

impl Database {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            url: layers.secret("database.url")?,
            replica_url: layers.secret("database.replica_url")?,
            tls: match layers.text("database.tls")? {
                "url" => Tls::Url,
                "verify-full" => Tls::VerifyFull,
                _ => return Err(layers.refuse("database.tls", "must be url or verify-full".into())),
            },
            ca_file: Some(layers.text("database.ca_file")?).filter(|path| !path.is_empty()).map(PathBuf::from),
            statements: match layers.text("database.statement_mode")? {
                "named" => Statements::Named,
                "unnamed" => Statements::Unnamed,
                _ => return Err(layers.refuse("database.statement_mode", "must be named or unnamed".into())),
            },
            pool_size: layers.number("database.pool_size", 1..=1_000)?,
            pool_kept: layers.number("database.pool_kept", 0..=1_000)?,
            read_batches: layers.number("database.read_batches", 1..=100)?,
            write_batches: layers.number("database.write_batches", 1..=100)?,
            batch_max: layers.number("database.batch_max", 1..=10_000)?,
            connect_timeout: layers.millis("database.connect_timeout_ms")?,
            timeout: layers.millis("database.timeout_ms")?,
        })
    }
}

impl Hashing {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            kernel: match layers.text("hashing.kernel")? {
                "interleaved" => Kernel::Interleaved,
                "crate" => Kernel::Crate,
                _ => return Err(layers.refuse("hashing.kernel", "must be interleaved or crate".into())),
            },
            cost: Cost::new(layers.number("hashing.cost", Cost::LOWEST.log_rounds()..=COST_MAX)?)
                .map_err(|error| layers.refuse("hashing.cost", error.to_string()))?,
            engines: match layers.number("hashing.engines", 0..=1_024)? {
                0 => std::thread::available_parallelism().map_or(1, usize::from),
                engines => engines,
            },
            lanes: Some(layers.number("hashing.lanes", 0..=8)?).filter(|lanes| *lanes > 0),
            niceness: layers.number("hashing.niceness", 0..=19)?,
            session_niceness: layers.number("hashing.session_niceness", 0..=19)?,
            max_wait: layers.millis("hashing.max_wait_ms")?,
            queue_max: layers.number("hashing.queue_max", 1..=1_000_000)?,
        })
    }
}

impl Tokens {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            secret: match layers.secret("tokens.secret")? {
                Some(secret) if secret.expose_secret().len() < SECRET_MIN_BYTES => {
                    let mend =
                        format!("must be at least {SECRET_MIN_BYTES} bytes long; make one with `openssl rand -hex 32`");
                    return Err(layers.refuse("tokens.secret", mend));
                }
                secret => secret,
            },
            ttl: Duration::from_secs(layers.number("tokens.ttl_s", 1..=31_536_000)?),
            accept_secret: layers.switch("tokens.accept_secret")?,
            encryption_keys: encryption_keys(layers)?,
            publish: Duration::from_secs(layers.number("tokens.publish_s", PUBLISH_MIN_S..=604_800)?),
        })
    }
}

fn encryption_keys(layers: &Layers) -> Result<Option<EncryptionKeys>, ConfigError> {
    let read = |key| {
        let parse = |text: SecretString| EncryptionKey::parse(text.expose_secret());
        layers.secret(key)?.map(parse).transpose().map_err(|error| layers.refuse(key, error.to_string()))
    };
    match (read("tokens.encryption_key")?, read("tokens.previous_encryption_key")?) {
        (Some(current), previous) => Ok(Some(EncryptionKeys { current, previous })),
        (None, None) => Ok(None),
        (None, Some(_)) => {
            let mend = "is set without tokens.encryption_key, which must be the key that replaces it".to_owned();
            Err(layers.refuse("tokens.previous_encryption_key", mend))
        }
    }
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

impl Audit {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            emails: disclosure(layers, "audit.emails")?,
            addresses: disclosure(layers, "audit.addresses")?,
            seal_every: layers.millis("audit.seal_ms")?,
            limit_window: layers.millis("audit.limit_window_ms")?,
        })
    }
}

impl Telemetry {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            admin_addr: match layers.text("telemetry.admin_addr")? {
                "off" => None,
                addr => Some(addr.parse().map_err(|_| {
                    layers.refuse("telemetry.admin_addr", "must be ADDRESS:PORT, such as 127.0.0.1:9000, or off".into())
                })?),
            },
            log_format: match layers.text("telemetry.log_format")? {
                "auto" => LogFormat::Auto,
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return Err(layers.refuse("telemetry.log_format", "must be auto, text or json".into())),
            },
            log_filter: layers.text("telemetry.log_filter")?.to_owned(),
        })
    }
}

fn disclosure(layers: &Layers, key: &'static str) -> Result<Disclosure, ConfigError> {
    match layers.text(key)? {
        "plain" => Ok(Disclosure::Plain),
        "hashed" => Ok(Disclosure::Hashed),
        "none" => Ok(Disclosure::Nothing),
        _ => Err(layers.refuse(key, "must be plain, hashed or none".into())),
    }
}
