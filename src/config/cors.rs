//! `[cors]`: which web pages of other origins may read the answers.

use std::time::Duration;

use super::ConfigError;
use super::layers::Layers;
use crate::domain::origin::Origin;

/// A day. No browser keeps the answer to a preflight for longer; most keep it much shorter.
const MAX_AGE_S: u64 = 86_400;
const ORIGINS: &str = "cors.allowed_origins";

/// `[cors]`.
#[derive(Debug, Clone)]
pub struct Cors {
    /// The origins whose pages may read the answers.
    pub allowed: Origins,
    /// How long a browser may keep the answer to a preflight.
    pub max_age: Duration,
}

/// The origins whose pages may read the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// The service's own.
    Nobody,
    /// All.
    Anybody,
    /// The listed ones.
    Listed(Vec<Origin>),
}

impl Cors {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let names = layers.list(ORIGINS)?;
        let allowed = match names.as_slice() {
            [] => Origins::Nobody,
            ["*"] => Origins::Anybody,
            names => Origins::Listed(names.iter().map(|name| parse(layers, name)).collect::<Result<_, _>>()?),
        };
        Ok(Self { allowed, max_age: Duration::from_secs(layers.number("cors.max_age_s", 0..=MAX_AGE_S)?) })
    }
}

fn parse(layers: &Layers, name: &str) -> Result<Origin, ConfigError> {
    if name == "*" {
        return Err(layers.refuse(ORIGINS, "must be * alone, or origins without it".to_owned()));
    }
    Origin::parse(name).map_err(|error| {
        let mend = format!("names {name:?}, which {error}; give origins such as https://app.example.com, or *");
        layers.refuse(ORIGINS, mend)
    })
}
