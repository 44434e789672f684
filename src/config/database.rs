//! `[database]`: the address of PostgreSQL, its connections and statements.

mod url;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::ConfigError;
use super::layers::Layers;
use url::ServerUrl;

/// `[database]`.
#[derive(Debug, Clone)]
pub struct Database {
    /// The URL of the server; `None`: the private cluster.
    pub url: Option<SecretString>,
    /// How the server's certificate is checked.
    pub tls: Tls,
    /// Authorities that may sign the server's certificate; `None`: those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Whether statements are prepared once per connection, or sent anew each time.
    pub statements: Statements,
    /// How PostgreSQL plans them.
    pub plans: Plans,
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
    /// Timeout for each address of the server: to connect, log in and be checked.
    pub connect_timeout: Duration,
    /// Timeout for one statement, including its wait for a connection.
    pub timeout: Duration,
}

/// How the connection to the database is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// As `sslmode` in the URL says: encrypted without a check of the certificate, or not at all.
    Url,
    /// Encrypted, with a certificate from a trusted authority that names the host.
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

/// How the statements of a connection are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plans {
    /// Once, for all values.
    Generic,
    /// As the server decides.
    Auto,
}

impl Database {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let url = ServerUrl::read(layers, "database.url")?;
        Ok(Self {
            tls: match layers.choice("database.tls", &[("url", Tls::Url), ("verify-full", Tls::VerifyFull)])? {
                Tls::Url if url.as_ref().is_some_and(|url| url.verifies) => Tls::VerifyFull,
                tls => tls,
            },
            ca_file: layers.path("database.ca_file")?.or_else(|| url.as_ref().and_then(|url| url.authorities.clone())),
            url: url.map(|url| url.url),
            statements: layers
                .choice("database.statement_mode", &[("named", Statements::Named), ("unnamed", Statements::Unnamed)])?,
            plans: layers.choice("database.plans", &[("generic", Plans::Generic), ("auto", Plans::Auto)])?,
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
