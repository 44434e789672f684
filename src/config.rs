//! Configuration: the only reader of configuration files and of the environment.
//!
//! Four layers, each over the one before: `config/rollcall.toml` (compiled in; it defines all keys), the file
//! of `--config`, `ROLLCALL__SECTION__KEY` variables, and the five variables of the Python service. Variables also come
//! from a `.env` file in the working directory, where the real environment does not set them.

mod cors;
mod database;
mod dotenv;
mod hashing;
pub mod https;
mod layers;
mod limits;
mod reference;
mod sections;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use thiserror::Error;

use crate::crypto::encryption::EncryptionKeys;
use crate::crypto::pseudonym::Disclosure;
use https::Https;
use layers::Layers;

pub use cors::{Cors, Origins};
pub use database::{Database, Plans, Statements, Tls};
pub use hashing::{Hashing, Kernel};
pub use limits::{Limits, Rate, Rates};
pub use reference::reference;

/// Shortest `tokens.secret` in bytes: the width of HS256's hash (RFC 7518, section 3.2).
pub const SECRET_MIN_BYTES: usize = 32;

/// Shortest `tokens.publish_s`. In that time every replica reads the table of keys several times, even from a slow
/// database.
const PUBLISH_MIN_S: u64 = 15;

/// Everything that an operator can set.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the private cluster and the generated secret live.
    pub data_dir: PathBuf,
    /// The HTTP front end.
    pub server: Server,
    /// PostgreSQL.
    pub database: Database,
    /// Password hashing.
    pub hashing: Hashing,
    /// Tokens.
    pub tokens: Tokens,
    /// Rate limits and lockouts.
    pub limits: Limits,
    /// Web pages of other origins.
    pub cors: Cors,
    /// The record of security events.
    pub audit: Audit,
    /// Logs and the admin listener.
    pub telemetry: Telemetry,
    /// The keys whose values come from a `.env` file, which goes over the file of `--config`.
    pub of_dot_env: Vec<String>,
}

/// The redirect may have this part of `server.max_connections` in addition; it sends one line to each connection.
pub const REDIRECT_PART: usize = 8;

/// `[server]`.
#[derive(Debug, Clone)]
pub struct Server {
    /// Address to listen on.
    pub host: String,
    /// Port to listen on; 0 picks a free one.
    pub port: u16,
    /// Connections open at once.
    pub max_connections: usize,
    /// Connections open at once from one network, while limits are in force.
    pub max_connections_per_address: usize,
    /// Requests being answered at once.
    pub max_in_flight: usize,
    /// Timeout for a request's headers, and for an idle connection between two requests.
    pub header_timeout: Duration,
    /// Timeout for a request's body.
    pub body_timeout: Duration,
    /// Timeout for a client to read 65,536 bytes of an answer, or its rest.
    pub write_timeout: Duration,
    /// Most bytes of the request line and headers of one request.
    pub header_max_bytes: usize,
    /// Most bytes of a request's body.
    pub body_max_bytes: usize,
    /// Time from the signal to stop until the listener closes.
    pub drain_notice: Duration,
    /// Timeout for accepted requests to finish when the service stops.
    pub drain_timeout: Duration,
    /// Proxies whose headers name the client.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether the documents are served.
    pub docs: bool,
    /// HTTPS.
    pub https: Https,
}

impl Server {
    /// Connections of the redirect open at once.
    #[must_use]
    pub fn redirect_connections_max(&self) -> usize {
        self.max_connections.div_ceil(REDIRECT_PART)
    }
}

/// `[tokens]`.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// HS256 key; `None`: a generated one, which is possible only with the private cluster.
    pub secret: Option<SecretString>,
    /// Lifetime of a token.
    pub ttl: Duration,
    /// Whether the HS256 key verifies tokens, and signs them while there is no other key.
    pub accept_secret: bool,
    /// The keys that encrypt private keys in the database.
    pub encryption_keys: Option<EncryptionKeys>,
    /// Time from the publication of a key until it signs.
    pub publish: Duration,
}

/// `[audit]`.
#[derive(Debug, Clone)]
pub struct Audit {
    /// How an event records the email.
    pub emails: Disclosure,
    /// How an event records the client's network.
    pub addresses: Disclosure,
    /// Interval of sealing.
    pub seal_every: Duration,
    /// How long rate-limit refusals gather into one event.
    pub limit_window: Duration,
}

/// `[telemetry]`.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// Where metrics and health are served; `None`: nowhere.
    pub admin_addr: Option<SocketAddr>,
    /// Whether the address is the default. The service starts without the admin listener if a default address is taken.
    pub admin_is_default: bool,
    /// How a log line is written.
    pub log_format: LogFormat,
    /// Which events are logged, in the syntax of tracing's `EnvFilter`; `None`: the level depends on the command.
    pub log_filter: Option<String>,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

/// A mistake in the configuration: the key, the origin of its value, and the remedy.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file that can't be read.
    #[error("cannot read {path}: {cause}; give --config the path of a readable TOML file", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A file that isn't TOML, or a `.env` file out of syntax.
    #[error("{origin} does not parse: {cause}")]
    Syntax {
        /// The file.
        origin: String,
        /// The parser's words, on one line.
        cause: String,
    },
    /// A key that doesn't exist.
    #[error("unknown key {key} ({origin}); {hint}`rollcall defaults` lists the keys there are", key = .key.escape_debug())]
    UnknownKey {
        /// The key, as `section.key`.
        key: String,
        /// Where it was given.
        origin: String,
        /// The key that may have been meant.
        hint: String,
    },
    /// A variable that differs from one of ours in its underscores only.
    #[error("unknown variable {origin}; did you mean {variable}? A section and its key are parted by two underscores")]
    UnknownVariable {
        /// Its name, and where it was given.
        origin: String,
        /// The name that was meant.
        variable: String,
    },
    /// A value that its key does not accept.
    #[error("{key} ({origin}) {mend}")]
    Value {
        /// The key, as `section.key`.
        key: String,
        /// Where the value was given.
        origin: String,
        /// What it must be.
        mend: String,
    },
}

/// The defaults, as a commented TOML document.
pub const DEFAULTS: &str = include_str!("../config/rollcall.toml");

impl Config {
    /// Reads all layers; `file` is the argument of `--config`.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::from_layers(&Layers::read(file)?)
    }

    /// The defaults with the TOML document `text` over them.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut layers = Layers::defaults()?;
        layers.set_document(text, "a document")?;
        Self::from_layers(&layers)
    }

    /// The defaults with `overrides` over them, each a `section.key` and its value as an environment variable would give it.
    ///
    /// # Errors
    /// [`ConfigError`] for the first override that is wrong.
    pub fn with(overrides: &[(&str, &str)]) -> Result<Self, ConfigError> {
        let mut layers = Layers::defaults()?;
        for (key, value) in overrides {
            layers.set_text(key, value, "an override")?;
        }
        Self::from_layers(&layers)
    }

    fn from_layers(layers: &Layers) -> Result<Self, ConfigError> {
        let (server, database) = (Server::read(layers)?, Database::read(layers)?);
        // With a configured database, only the certificate of an ACME authority needs the directory.
        let is_needed = database.url.is_none() || matches!(server.https.certificate, Some(https::Source::Acme(_)));
        Ok(Self {
            data_dir: match layers.path("data_dir")? {
                None => default_data_dir().or((!is_needed).then(PathBuf::new)).ok_or_else(|| {
                    let mend =
                        "must be set: there is neither HOME, XDG_DATA_HOME nor STATE_DIRECTORY to derive it from";
                    layers.refuse("data_dir", mend.to_owned())
                })?,
                Some(path) => path,
            },
            server,
            database,
            hashing: Hashing::read(layers)?,
            tokens: Tokens::read(layers)?,
            limits: Limits::read(layers)?,
            cors: Cors::read(layers)?,
            audit: Audit::read(layers)?,
            telemetry: Telemetry::read(layers)?,
            of_dot_env: layers.of_dot_env(),
        })
    }
}

/// The state directory of the service manager. Without one: for root `/var/lib`, because PostgreSQL's user cannot enter
/// root's home; for other users a directory below their home. Never a directory that all users share.
fn default_data_dir() -> Option<PathBuf> {
    let directory = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // systemd separates several by colons.
    let state = std::env::var_os("STATE_DIRECTORY").and_then(|all| std::env::split_paths(&all).next());
    if let Some(state) = state.filter(|path| path.is_absolute()) {
        return Some(state);
    }
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/rollcall"));
    }
    let base = directory("XDG_DATA_HOME").or_else(|| directory("HOME").map(|home| home.join(".local/share")));
    base.map(|base| base.join("rollcall"))
}
