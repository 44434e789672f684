//! The sections whose keys stand for themselves, read from the layers.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::https::Https;
use super::layers::Layers;
use super::{Audit, ConfigError, LogFormat, PUBLISH_MIN_S, SECRET_MIN_BYTES, Server, Telemetry, Tokens, limits};
use crate::crypto::encryption::{EncryptionKey, EncryptionKeys};
use crate::crypto::pseudonym::Disclosure;

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
            drain_notice: Duration::from_millis(layers.number("server.drain_notice_ms", 0..=600_000)?),
            drain_timeout: layers.millis("server.drain_timeout_ms")?,
            trusted_proxies: limits::proxies(layers)?,
            docs: layers.switch("server.docs")?,
            https: Https::read(layers)?,
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
            admin_addr: layers.address("telemetry.admin_addr", "127.0.0.1:9000")?,
            admin_is_default: layers.is_default("telemetry.admin_addr"),
            log_format: layers.choice(
                "telemetry.log_format",
                &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)],
            )?,
            log_filter: match layers.text("telemetry.log_filter")? {
                "" => None,
                filter => Some(filter.to_owned()),
            },
        })
    }
}

fn disclosure(layers: &Layers, key: &str) -> Result<Disclosure, ConfigError> {
    layers.choice(key, &[("plain", Disclosure::Plain), ("hashed", Disclosure::Hashed), ("none", Disclosure::Nothing)])
}
