//! The layers of configuration, merged: each key's value and its origin.
//!
//! The config crate does not keep two promises: its type errors quote the value, which may be a secret, and its error
//! for an unknown key names no origin.

mod values;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use toml::{Table, Value};

use super::{ConfigError, DEFAULTS, dotenv};

/// The variables of the Python service and the keys they set, except `DEBUG`, which is a switch and no value.
pub(super) const SEED_VARIABLES: [(&str, &str); 4] = [
    ("DATABASE_URL", "database.url"),
    ("JWT_SECRET", "tokens.secret"),
    ("API_HOST", "server.host"),
    ("API_PORT", "server.port"),
];
/// What `DEBUG` sets, and to what.
pub(super) const DEBUG_KEY: &str = "telemetry.log_filter";
pub(super) const DEBUG_FILTER: &str = "rollcall=debug,info";
/// The origin of a value that no layer sets.
const DEFAULT: &str = "the default";
const PREFIX: &str = "ROLLCALL__";

/// Read from the working directory, as the Python service does.
const DOT_ENV: &str = ".env";

/// Values by `section.key`, each with its origin. The defaults define all keys and their types.
pub(super) struct Layers {
    values: BTreeMap<String, (Value, String)>,
    /// What each key accepts, in words, once its value has been read.
    accepted: RefCell<BTreeMap<String, String>>,
}

impl Layers {
    /// The lowest layer alone.
    pub(super) fn defaults() -> Result<Self, ConfigError> {
        let mut values = BTreeMap::new();
        for (key, value) in flatten(parse(DEFAULTS, "the defaults")?) {
            values.insert(key, (value, DEFAULT.to_owned()));
        }
        Ok(Self { values, accepted: RefCell::default() })
    }

    /// All layers, with `file` as the second.
    pub(super) fn read(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut layers = Self::defaults()?;
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|cause| ConfigError::Unreadable { path: path.to_owned(), cause })?;
            layers.set_document(&text, &path.display().to_string())?;
        }
        let variables = variables()?;
        for (name, (value, origin)) in &variables {
            if !name.starts_with(PREFIX)
                && !value.starts_with("tcp://")
                && !value.starts_with("udp://")
                && let Some(key) = intended(name, layers.values.keys())
            {
                return Err(ConfigError::UnknownVariable { origin: origin.clone(), variable: variable(key) });
            }
            if let Some(key) = name.strip_prefix(PREFIX) {
                layers.set_text(&key.to_lowercase().replace("__", "."), value, origin)?;
            }
        }
        for (name, key) in SEED_VARIABLES {
            // An empty variable is how env files and compose files spell "not set".
            if let Some((value, origin)) = variables.get(name).filter(|(value, _)| !value.is_empty()) {
                layers.set_text(key, value, origin)?;
            }
        }
        if let Some((value, origin)) = variables.get("DEBUG") {
            match value.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => {
                    layers.set_text(DEBUG_KEY, DEBUG_FILTER, origin)?;
                }
                "false" | "0" | "no" | "off" | "" => {}
                _ => {
                    let mend = "is set from DEBUG, which must be True or False".to_owned();
                    return Err(ConfigError::Value { key: DEBUG_KEY.to_owned(), origin: origin.clone(), mend });
                }
            }
        }
        Ok(layers)
    }

    /// Puts the values of a TOML document over those of their keys.
    pub(super) fn set_document(&mut self, text: &str, origin: &str) -> Result<(), ConfigError> {
        for (key, value) in flatten(parse(text, origin)?) {
            self.set(&key, value, origin.to_owned())?;
        }
        Ok(())
    }

    /// Puts `text` over a key's value, read as the type that the key has by default.
    pub(super) fn set_text(&mut self, key: &str, text: &str, origin: &str) -> Result<(), ConfigError> {
        let (current, _) = self.values.get(key).ok_or_else(|| self.unknown(key, origin))?;
        let value = match current {
            Value::Integer(_) => text.trim().parse().map_or_else(|_| text.into(), Value::Integer),
            Value::Boolean(_) => text.trim().to_ascii_lowercase().parse().map_or_else(|_| text.into(), Value::Boolean),
            _ => text.into(),
        };
        self.set(key, value, origin.to_owned())
    }

    fn set(&mut self, key: &str, value: Value, origin: String) -> Result<(), ConfigError> {
        match self.values.get_mut(key) {
            Some(slot) => {
                *slot = (value, origin);
                Ok(())
            }
            None => Err(self.unknown(key, &origin)),
        }
    }

    fn unknown(&self, key: &str, origin: &str) -> ConfigError {
        let hint = nearest(key, self.values.keys()).map(|known| format!("did you mean {known}? ")).unwrap_or_default();
        ConfigError::UnknownKey { key: key.to_owned(), origin: origin.to_owned(), hint }
    }

    /// The keys whose values come from `.env`.
    pub(super) fn of_dot_env(&self) -> Vec<String> {
        let ours = self.values.iter().filter(|(_, (_, origin))| origin.ends_with(&format!(" in {DOT_ENV}")));
        ours.map(|(key, _)| key.clone()).collect()
    }

    /// Whether no layer sets `key`.
    pub(super) fn is_default(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|(_, origin)| origin == DEFAULT)
    }

    /// An error about the value at `key`; `mend` is the remedy. It does not show the value, which may be a secret.
    pub(super) fn refuse(&self, key: &str, mend: String) -> ConfigError {
        let origin = self.values.get(key).map_or_else(|| "not set".to_owned(), |(_, origin)| format!("from {origin}"));
        ConfigError::Value { key: key.to_owned(), origin, mend }
    }
}

/// The environment variable of a key.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

fn parse(text: &str, origin: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map_or(0, |span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
        ConfigError::Syntax {
            origin: origin.to_owned(),
            cause: format!("line {line}: {}", e.message().replace(char::is_control, " ")),
        }
    })
}

/// `[section] key = value` as `section.key`, at any depth.
fn flatten(table: Table) -> Vec<(String, Value)> {
    let mut flat = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(section) => {
                flat.extend(flatten(section).into_iter().map(|(inner, value)| (format!("{key}.{inner}"), value)));
            }
            value => flat.push((key, value)),
        }
    }
    flat
}

/// The variables of `.env` and of the environment over them, each with its origin. Variables that are not UTF-8 are
/// skipped.
fn variables() -> Result<BTreeMap<String, (String, String)>, ConfigError> {
    let mut variables = BTreeMap::new();
    match std::fs::read_to_string(DOT_ENV) {
        Ok(text) => {
            let file = dotenv::read(&text, |name| std::env::var(name).ok());
            for line in file.broken {
                // There is no log yet. python-dotenv skips such a line too, so it must not stop the service.
                eprintln!("rollcall: {DOT_ENV} line {line} is out of syntax and left out");
            }
            for (name, value) in file.values {
                if let Some(value) = value {
                    let origin = format!("{name} in {DOT_ENV}");
                    variables.insert(name, (value, origin));
                }
            }
        }
        // A directory of that name is a virtual environment of Python; the Python service does not read it either.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => {}
        Err(cause) => return Err(ConfigError::Unreadable { path: DOT_ENV.into(), cause }),
    }
    for (name, value) in std::env::vars_os() {
        if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
            variables.insert(name.clone(), (value, format!("{name} in the environment")));
        }
    }
    Ok(variables)
}

/// The key that a variable with too few underscores means, such as `ROLLCALL_DATA_DIR`; `None` for any other variable.
/// Kubernetes sets variables of the same prefix for a service of this name (`ROLLCALL_SERVER_PORT`); their values are
/// URLs.
fn intended<'a>(name: &str, mut keys: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    let flat = |text: &str| text.to_ascii_lowercase().replace(['.', '_'], "");
    let rest = flat(name.strip_prefix("ROLLCALL_")?);
    keys.find(|key| flat(key) == rest).map(String::as_str)
}

/// The key that is most similar to `key`; `None` if none is similar.
fn nearest<'a>(key: &str, keys: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    let likeness = |known: &&String| strsim::jaro_winkler(key, known);
    let nearest = keys.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&nearest) > 0.9).then_some(nearest)
}
