//! `rollcall keys`: the keys that tokens are signed with.

mod table;

use clap::Subcommand;

use super::signing_key::{Algorithm, NewKey, State, StoredKey, signer};
use super::store::{KeyStore, KeyStoreError, Retirement, Snapshot};
use crate::config::Config;
use crate::crypto::encryption::EncryptionKeys;
use crate::database::{Database, DatabaseError};
use crate::features::with_database;
use crate::terminal::{TerminalError, print};
use table::Table;

/// What to do with the keys.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Tell the keys there are and which one signs
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Add a key, which is published at once and signs later (`tokens.publish_s`)
    Add {
        /// eddsa (Ed25519) or es256 (ECDSA on P-256)
        #[arg(long)]
        algorithm: Algorithm,
        #[command(flatten)]
        format: Format,
    },
    /// Add a key that takes over later (`tokens.publish_s`), while the tokens of all others live out their time
    Rotate {
        /// eddsa or es256; by default that of the newest key
        #[arg(long)]
        algorithm: Option<Algorithm>,
        #[command(flatten)]
        format: Format,
    },
    /// Stop signing with a key; its tokens live out their time
    Retire {
        /// The key's name
        kid: String,
        /// Refuse its tokens too, from now on: for a key that others may have
        #[arg(long, visible_alias = "now")]
        revoke: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Encrypt every private key under `tokens.encryption_key`, those too that `tokens.previous_encryption_key` opens
    Reseal {
        #[command(flatten)]
        format: Format,
    },
}

/// How the keys are printed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Format {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// The database is not there, or not up to date.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The table of keys cannot be read or changed.
    #[error(transparent)]
    Store(#[from] KeyStoreError),
    /// The answer cannot be printed.
    #[error(transparent)]
    Terminal(#[from] TerminalError),
    /// No key could be made.
    #[error("no key could be made: {0}")]
    Generation(String),
    /// Private keys are stored encrypted.
    #[error(
        "tokens.encryption_key is not set; make one with `openssl rand -hex 32`, and give it to every replica too \
         (ROLLCALL__TOKENS__ENCRYPTION_KEY)"
    )]
    NoEncryptionKey,
    /// The table of keys is empty.
    #[error("there is no key to rotate: tokens are signed with tokens.secret; add one with `rollcall keys add`")]
    NothingToRotate,
    /// Nothing would sign tokens.
    #[error(
        "the key {0} is the only one that may sign, and tokens.accept_secret is false; `rollcall keys rotate` replaces it"
    )]
    LastSigner(String),
}

/// Runs the command, and prints the keys as they are then.
///
/// # Errors
/// [`KeysError`].
pub(crate) async fn run(config: &Config, command: &Command) -> Result<(), KeysError> {
    let answer = with_database(config, async |database| execute(config, database, command).await).await?;
    Ok(print(&answer)?)
}

async fn execute(config: &Config, database: &Database, command: &Command) -> Result<String, KeysError> {
    let store = KeyStore::new(database.pool.clone(), config.database.timeout);
    let tokens = &config.tokens;
    let mut resealed = None;
    let format = match command {
        Command::List { format } => format,
        Command::Add { algorithm, format } => {
            store.add(&generate(*algorithm, tokens.encryption_keys.as_ref())?, tokens.publish).await?;
            format
        }
        Command::Rotate { algorithm, format } => {
            let newest = newest(&store.read().await?).ok_or(KeysError::NothingToRotate)?;
            let key = generate(algorithm.unwrap_or(newest), tokens.encryption_keys.as_ref())?;
            store.rotate(&key, tokens.publish, tokens.ttl).await?;
            format
        }
        Command::Retire { kid, revoke: true, format } => {
            store.retire(kid, Retirement::Revoke).await?;
            format
        }
        Command::Retire { kid, revoke: false, format } => {
            if !tokens.accept_secret && is_last_signer(kid, &store.read().await?) {
                return Err(KeysError::LastSigner(kid.clone()));
            }
            store.retire(kid, Retirement::LiveOut { ttl: tokens.ttl }).await?;
            format
        }
        Command::Reseal { format } => {
            resealed = Some(store.reseal(tokens.encryption_keys.as_ref().ok_or(KeysError::NoEncryptionKey)?).await?);
            format
        }
    };
    let snapshot = store.read().await?;
    let table = Table::new(&snapshot, tokens.accept_secret, signing(&snapshot, config).map(StoredKey::kid), resealed);
    Ok(if format.json { table.json() } else { table.text() })
}

fn generate(algorithm: Algorithm, encryption: Option<&EncryptionKeys>) -> Result<NewKey, KeysError> {
    let encryption = encryption.ok_or(KeysError::NoEncryptionKey)?;
    NewKey::generate(algorithm, &encryption.current).map_err(|error| KeysError::Generation(error.to_string()))
}

/// The algorithm of the newest key that is not retired.
fn newest(snapshot: &Snapshot) -> Option<Algorithm> {
    snapshot.keys.iter().rev().find(|key| key.retired_at.is_none()).map(|key| key.algorithm)
}

fn is_last_signer(kid: &str, snapshot: &Snapshot) -> bool {
    let may_sign = |key: &&StoredKey| {
        key.retired_at.is_none() && matches!(key.state(snapshot.now), State::Published | State::Active)
    };
    let mut signers = snapshot.keys.iter().filter(may_sign).map(StoredKey::kid);
    signers.next() == Some(kid) && signers.next().is_none()
}

/// The key that signs. Without an encryption key here, all keys are taken to be readable to the replicas.
fn signing<'a>(snapshot: &'a Snapshot, config: &Config) -> Option<&'a StoredKey> {
    let encryption = config.tokens.encryption_keys.as_ref();
    let able = snapshot.keys.iter().filter(|key| encryption.is_none_or(|encryption| key.open(encryption).is_ok()));
    signer(able.map(|key| (key, key)), snapshot.now, !config.tokens.accept_secret)
}
