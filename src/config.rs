//! Configuration: the only reader of configuration files and of the environment.
//!
//! Four layers, each over the one before: `config/rollcall.toml` (compiled in, and the list of the keys there are), the file
//! of `--config`, `ROLLCALL__SECTION__KEY` variables, and the five variables of the Python service. Variables also come
//! from a `.env` file in the working directory, where the real environment does not set them.

mod cors;
pub mod https;
mod layers;
mod limits;
mod sections;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use thiserror::Error;

use crate::domain::encryption::EncryptionKeys;
use crate::domain::origin::Origin;
use crate::domain::pseudonym::Disclosure;
use crate::hashing::mcf::Cost;
use https::Https;
use layers::Layers;

/// Shortest `tokens.secret` in bytes: the width of HS256's hash (RFC 7518, section 3.2).
pub const SECRET_MIN_BYTES: usize = 32;

/// Shortest `tokens.publish_s`: by then every replica has read the table of keys several times, on a slow database too.
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
}

/// `[server]`.
#[derive(Debug, Clone)]
pub struct Server {
    /// Address to listen on.
    pub host: String,
    /// Port to listen on; 0 picks a free one.
    pub port: u16,
    /// Connections open at once.
    pub max_connections: usize,
    /// Of them from one network, while limits are in force.
    pub max_connections_per_address: usize,
    /// Requests being answered at once.
    pub max_in_flight: usize,
    /// For a request's headers, and for idling between two requests.
    pub header_timeout: Duration,
    /// For a request's body.
    pub body_timeout: Duration,
    /// For a client to take its share of an answer.
    pub write_timeout: Duration,
    /// Request line and headers of one request.
    pub header_max_bytes: usize,
    /// A request's body.
    pub body_max_bytes: usize,
    /// For accepted requests to finish when the service stops.
    pub drain_timeout: Duration,
    /// Who may say for whom it passes requests on.
    pub trusted_proxies: Vec<IpNet>,
    /// HTTPS.
    pub https: Https,
}

/// `[database]`.
#[derive(Debug, Clone)]
pub struct Database {
    /// Where the server is; `None` stands for the private cluster.
    pub url: Option<SecretString>,
    /// Where lookups by id go first, if not there: a standby of the same server, or several.
    pub replica_url: Option<SecretString>,
    /// How the server's certificate is checked.
    pub tls: Tls,
    /// Certificates of the authorities that may vouch for the server; `None`: those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Whether statements are prepared once per connection, or sent anew each time.
    pub statements: Statements,
    /// Connections at most.
    pub pool_size: usize,
    /// Connections kept open when idle.
    pub pool_kept: usize,
    /// Lookup statements under way at once.
    pub read_batches: usize,
    /// Writing statements under way at once.
    pub write_batches: usize,
    /// Rows of one statement at most.
    pub batch_max: usize,
    /// For each address of the server, until it is known to be of use.
    pub connect_timeout: Duration,
    /// For one statement, its wait for a connection included.
    pub timeout: Duration,
}

/// How the connection to the database is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// As `sslmode` in the URL says: encrypted without asking who answers, or not at all.
    Url,
    /// Encrypted, and only with a server whose certificate is vouched for and names the host.
    VerifyFull,
}

/// How statements are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statements {
    /// Prepared once per connection, under a name.
    Named,
    /// Without a name, each time anew: for a proxy that gives each transaction another connection.
    Unnamed,
}

/// `[hashing]`.
#[derive(Debug, Clone)]
pub struct Hashing {
    /// Cost of new hashes.
    pub cost: Cost,
    /// What computes the hashes.
    pub kernel: Kernel,
    /// Hash threads.
    pub engines: usize,
    /// Hashes at once per thread; `None` asks for the fastest number, measured at start.
    pub lanes: Option<usize>,
    /// Niceness of the hash threads.
    pub niceness: i32,
    /// Niceness of the service's session among those of the machine.
    pub session_niceness: i32,
    /// Longest wait that a job is admitted with.
    pub max_wait: Duration,
    /// Jobs waiting at most.
    pub queue_max: usize,
}

/// What computes the hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Several hashes interleaved on one core.
    Interleaved,
    /// The `bcrypt` crate, one hash at a time.
    Crate,
}

/// `[tokens]`.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// HS256 key; `None` asks for a generated one, beside the private cluster only.
    pub secret: Option<SecretString>,
    /// Lifetime of a token.
    pub ttl: Duration,
    /// Whether tokens of the HS256 key are good, and signed where there is no other key.
    pub accept_secret: bool,
    /// What private keys in the database are encrypted under.
    pub encryption_keys: Option<EncryptionKeys>,
    /// How long a key is published before it signs.
    pub publish: Duration,
}

/// `[limits]`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Whether any limit is in force.
    pub enabled: bool,
    /// Failed logins to one account from one network that lock it to that network.
    pub lock_after: i32,
    /// Failed logins to one account from any network that lock it to those it has not logged in from lately.
    pub account_lock_after: i32,
    /// Failed logins to one account from one network, from which on it has to pause.
    pub delay_after: i32,
    /// How long a lock lasts.
    pub lock: Duration,
    /// After this long without another one, failures are forgotten.
    pub forget: Duration,
    /// Counters kept at most.
    pub attempts_max: i64,
    /// How many requests a network may make.
    pub rates: Rates,
}

/// The rate limits of `[limits]`.
#[derive(Debug, Clone)]
pub struct Rates {
    /// Of registrations.
    pub register: Option<Rate>,
    /// Of logins.
    pub login: Option<Rate>,
    /// Of requests with a token.
    pub profile: Option<Rate>,
    /// Of all else.
    pub other: Option<Rate>,
    /// Networks that are counted one by one, of each kind of request.
    pub keys_max: usize,
    /// Where replicas count together.
    pub redis_url: Option<SecretString>,
    /// For Redis to answer.
    pub redis_timeout: Duration,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In which it gains one token.
    pub period: Duration,
    /// Tokens that it holds.
    pub burst: NonZeroU32,
}

/// `[cors]`.
#[derive(Debug, Clone)]
pub struct Cors {
    /// Whose pages may read the answers.
    pub allowed: Origins,
    /// How long a browser may keep the answer to a preflight.
    pub max_age: Duration,
}

/// Whose pages may read the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Those of the service's own origin.
    Nobody,
    /// Everybody's.
    Anybody,
    /// Those of these origins.
    Listed(Vec<Origin>),
}

/// `[audit]`.
#[derive(Debug, Clone)]
pub struct Audit {
    /// What an event tells of the email.
    pub emails: Disclosure,
    /// What an event tells of the client's address.
    pub addresses: Disclosure,
    /// From one look for events to seal to the next.
    pub seal_every: Duration,
    /// For how long refusals by a rate limit gather into one event.
    pub limit_window: Duration,
}

/// `[telemetry]`.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// Where metrics and health are served; `None`: nowhere.
    pub admin_addr: Option<SocketAddr>,
    /// How a log line is written.
    pub log_format: LogFormat,
    /// Which events are logged, in the syntax of tracing's `EnvFilter`.
    pub log_filter: String,
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

/// What is wrong with the configuration, with the key, where its value came from, and the mend.
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
    #[error("unknown key {key} ({origin}); `rollcall defaults` lists the keys there are", key = .key.escape_debug())]
    UnknownKey {
        /// The key, as `section.key`.
        key: String,
        /// Where it was given.
        origin: String,
    },
    /// A value that its key can't have.
    #[error("{key} ({origin}) {mend}")]
    Value {
        /// The key, as `section.key`.
        key: &'static str,
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
        Ok(Self {
            data_dir: match layers.text("data_dir")? {
                "" => default_data_dir(),
                path => PathBuf::from(path),
            },
            server: Server::read(layers)?,
            database: Database::read(layers)?,
            hashing: Hashing::read(layers)?,
            tokens: Tokens::read(layers)?,
            limits: Limits::read(layers)?,
            cors: Cors::read(layers)?,
            audit: Audit::read(layers)?,
            telemetry: Telemetry::read(layers)?,
        })
    }
}

/// Root's own home is closed to the user that PostgreSQL runs as, so root's data lies where system services keep theirs.
fn default_data_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/rollcall");
    }
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let base = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    base.or_else(home).unwrap_or_else(std::env::temp_dir).join("rollcall")
}
