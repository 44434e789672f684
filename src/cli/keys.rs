//! `rollcall keys`: the keys that tokens are signed with.

mod table;

use clap::Subcommand;

use super::{CliError, demand_schema, print};
use crate::config::Config;
use crate::crypto::encryption::EncryptionKeys;
use crate::database::Database;
use crate::features::tokens::signing_key::{Algorithm, NewKey, State, StoredKey, signer};
use crate::features::tokens::store::{KeyStore, Retirement, Snapshot};
use table::Table;

/// What to do with the keys.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum Wish {
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

/// How the keys are told.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Format {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Why a wish is not granted.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysError {
    #[error(
        "tokens.encryption_key is not set; make one with `openssl rand -hex 32`, and give it to every replica too \
         (ROLLCALL__TOKENS__ENCRYPTION_KEY)"
    )]
    NoEncryptionKey,
    #[error("there is no key to rotate: tokens are signed with tokens.secret; add one with `rollcall keys add`")]
    NothingToRotate,
    #[error(
        "the key {0} is the only one that may sign, and tokens.accept_secret is false; `rollcall keys rotate` replaces it"
    )]
    LastSigner(String),
}

/// Does it, and tells the keys as they are then.
pub(super) async fn run(config: &Config, wish: &Wish) -> Result<(), CliError> {
    let database = Database::open(&config.database, &config.data_dir).await?;
    let told = grant(config, &database, wish).await;
    database.close().await;
    print(&told?)
}

async fn grant(config: &Config, database: &Database, wish: &Wish) -> Result<String, CliError> {
    demand_schema(database).await?;
    let store = KeyStore::new(database.pool.clone(), config.database.timeout);
    let tokens = &config.tokens;
    let mut resealed = None;
    let format = match wish {
        Wish::List { format } => format,
        Wish::Add { algorithm, format } => {
            store.add(&generate(*algorithm, tokens.encryption_keys.as_ref())?, tokens.publish).await?;
            format
        }
        Wish::Rotate { algorithm, format } => {
            let newest = newest(&store.read().await?).ok_or(KeysError::NothingToRotate)?;
            let key = generate(algorithm.unwrap_or(newest), tokens.encryption_keys.as_ref())?;
            store.rotate(&key, tokens.publish, tokens.ttl).await?;
            format
        }
        Wish::Retire { kid, revoke: true, format } => {
            store.retire(kid, Retirement::Revoke).await?;
            format
        }
        Wish::Retire { kid, revoke: false, format } => {
            if !tokens.accept_secret && is_last_signer(kid, &store.read().await?) {
                return Err(KeysError::LastSigner(kid.clone()).into());
            }
            store.retire(kid, Retirement::LiveOut { ttl: tokens.ttl }).await?;
            format
        }
        Wish::Reseal { format } => {
            resealed = Some(store.reseal(tokens.encryption_keys.as_ref().ok_or(KeysError::NoEncryptionKey)?).await?);
            format
        }
    };
    let snapshot = store.read().await?;
    let table = Table::new(&snapshot, tokens.accept_secret, signing(&snapshot, config).map(StoredKey::kid), resealed);
    Ok(if format.json { table.json() } else { table.text() })
}

fn generate(algorithm: Algorithm, encryption: Option<&EncryptionKeys>) -> Result<NewKey, CliError> {
    let encryption = encryption.ok_or(KeysError::NoEncryptionKey)?;
    NewKey::generate(algorithm, &encryption.current).map_err(|error| CliError::Output(error.to_string()))
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

/// The key that signs. Without an encryption key here, all are taken to be readable to those who have it.
fn signing<'a>(snapshot: &'a Snapshot, config: &Config) -> Option<&'a StoredKey> {
    let encryption = config.tokens.encryption_keys.as_ref();
    let able = snapshot.keys.iter().filter(|key| encryption.is_none_or(|encryption| key.open(encryption).is_ok()));
    signer(able.map(|key| (key, key)), snapshot.now, !config.tokens.accept_secret)
}
