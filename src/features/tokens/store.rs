//! The table of signing keys: every replica reads it, and the command line changes it, each change with its event.

mod resealing;

use std::time::Duration;

use serde_json::{Value, json};
use thiserror::Error;
use time::OffsetDateTime;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient, Row};

use crate::crypto::encryption::EncryptionError;
use crate::database::lender::{LendError, lend};
use crate::database::{Client, Pool, Transaction};
use crate::domain::timestamp::rfc3339_millis;
use crate::features::tokens::signing_key::{NewKey, Sealed, StoredKey};

/// How long a replica may still sign with a key after its retirement: until it has read the table again, and has
/// completed the logins under way.
const SIGNS_ON: Duration = Duration::from_mins(1);

const READ: &str =
    "SELECT kid, algorithm, public_key::text, private_key, created_at, active_from, retired_at, expires_at,
        clock_timestamp()
    FROM signing_keys ORDER BY created_at, kid";
const CLOCK: &str = "SELECT clock_timestamp()";
/// Excludes other changes to the table, but no readers.
const LOCK: &str = "LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE";
const INSERT: &str = "INSERT INTO signing_keys (kid, algorithm, public_key, private_key, active_from)
    VALUES ($1, $2, $3::jsonb, $4, now() + make_interval(secs => $5)) RETURNING active_from";
const SUPERSEDE: &str = "UPDATE signing_keys SET retired_at = $2, expires_at = $2 + make_interval(secs => $3)
    WHERE retired_at IS NULL AND kid <> $1 RETURNING kid";
const FIND: &str = "SELECT coalesce(retired_at <= now(), false), coalesce(expires_at <= now(), false)
    FROM signing_keys WHERE kid = $1";
const RETIRE: &str = "UPDATE signing_keys SET retired_at = now(), expires_at = now() + make_interval(secs => $2)
    WHERE kid = $1 RETURNING expires_at";
const REVOKE: &str = "UPDATE signing_keys SET retired_at = least(retired_at, now()), expires_at = now()
    WHERE kid = $1 RETURNING expires_at";
/// A deleted private key can't be stolen.
const FORGET: &str = "UPDATE signing_keys SET private_key = NULL WHERE retired_at <= now() AND private_key IS NOT NULL";
const EVENT: &str = "SELECT audit_append($1, NULL, NULL, NULL, $2::jsonb)";

/// Why the table can't be read, or is not changed.
#[derive(Debug, Error)]
pub enum KeyStoreError {
    /// The database is away, or refuses.
    #[error("the signing keys cannot be read or changed: {0}")]
    Failed(#[from] LendError),
    /// A private key cannot be encrypted.
    #[error("the signing keys cannot be read or changed: {0}")]
    Encryption(EncryptionError),
    /// No key of this name.
    #[error("there is no key {0}; `rollcall keys list` names those there are")]
    NoSuchKey(String),
    /// It does not sign any more.
    #[error("the key {0} is retired already; --revoke ends its tokens too")]
    Retired(String),
    /// Its tokens are refused already.
    #[error("the key {0} has expired already, and its tokens are refused")]
    Expired(String),
    /// No encryption key opens them.
    #[error(
        "neither tokens.encryption_key nor tokens.previous_encryption_key opens {0}, and nothing was changed; set the one \
         that they are encrypted under, or retire them with `rollcall keys retire`"
    )]
    Unreadable(String),
}

impl From<Error> for KeyStoreError {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

/// The table as it was at one instant.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its keys, the oldest first.
    pub keys: Vec<StoredKey>,
    /// Names of malformed rows.
    pub unsound: Vec<String>,
    /// The time of the read, by the database's clock, which all replicas use.
    pub now: OffsetDateTime,
}

/// What retiring a key does to its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retirement {
    /// They live out their time.
    LiveOut {
        /// Longest lifetime of a token.
        ttl: Duration,
    },
    /// They are refused from now on.
    Revoke,
}

/// The table, and the deadline of each use.
#[derive(Debug, Clone)]
pub struct KeyStore {
    pool: Pool,
    timeout: Duration,
}

impl KeyStore {
    /// The table behind `pool`. Each call takes at most `timeout`.
    #[must_use]
    pub fn new(pool: Pool, timeout: Duration) -> Self {
        Self { pool, timeout }
    }

    /// All keys.
    ///
    /// # Errors
    /// [`KeyStoreError::Failed`].
    pub async fn read(&self) -> Result<Snapshot, KeyStoreError> {
        lend(&self.pool, self.timeout, async |client| snapshot(&***client).await).await
    }

    /// Adds a key that signs after `publish`.
    ///
    /// # Errors
    /// [`KeyStoreError::Failed`].
    pub async fn add(&self, key: &NewKey, publish: Duration) -> Result<(), KeyStoreError> {
        lend(&self.pool, self.timeout, async |client| {
            let change = begin(client).await?;
            let active_from = insert(&change, key, publish).await?;
            let detail = json!({"kid": key.jwk.kid, "algorithm": key.algorithm.name(), "activeFrom": active_from});
            commit(change, "key_added", &detail).await
        })
        .await
    }

    /// Adds a key that signs after `publish`. All others sign until then, and verify until the last token of `ttl` expired.
    ///
    /// # Errors
    /// [`KeyStoreError::Failed`].
    pub async fn rotate(&self, key: &NewKey, publish: Duration, ttl: Duration) -> Result<(), KeyStoreError> {
        lend(&self.pool, self.timeout, async |client| {
            let change = begin(client).await?;
            let active_from = insert(&change, key, publish).await?;
            let (kid, life) = (key.jwk.kid.as_str(), (ttl + SIGNS_ON).as_secs_f64());
            let from = active_from.0;
            let parameters = [(&kid as _, Type::TEXT), (&from as _, Type::TIMESTAMPTZ), (&life as _, Type::FLOAT8)];
            let superseded = change.query_typed(SUPERSEDE, &parameters).await?;
            let superseded: Vec<String> = superseded.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
            let detail = json!({
                "kid": kid, "algorithm": key.algorithm.name(), "activeFrom": active_from, "superseded": superseded
            });
            commit(change, "key_rotated", &detail).await
        })
        .await
    }

    /// Stops signing with the key `kid`.
    ///
    /// # Errors
    /// [`KeyStoreError`].
    pub async fn retire(&self, kid: &str, retirement: Retirement) -> Result<(), KeyStoreError> {
        lend(&self.pool, self.timeout, async |client| {
            let change = begin(client).await?;
            let found = change.query_typed_opt(FIND, &[(&kid, Type::TEXT)]).await?;
            let found = found.ok_or_else(|| KeyStoreError::NoSuchKey(kid.to_owned()))?;
            let (is_retired, is_expired): (bool, bool) = (found.try_get(0)?, found.try_get(1)?);
            let row = match retirement {
                _ if is_expired => return Err(KeyStoreError::Expired(kid.to_owned())),
                Retirement::LiveOut { .. } if is_retired => return Err(KeyStoreError::Retired(kid.to_owned())),
                Retirement::LiveOut { ttl } => {
                    let life = (ttl + SIGNS_ON).as_secs_f64();
                    change.query_typed_one(RETIRE, &[(&kid, Type::TEXT), (&life, Type::FLOAT8)]).await?
                }
                Retirement::Revoke => change.query_typed_one(REVOKE, &[(&kid, Type::TEXT)]).await?,
            };
            let (revoked, expires_at) = (retirement == Retirement::Revoke, Instant(row.try_get(0)?));
            commit(change, "key_retired", &json!({"kid": kid, "revoked": revoked, "expiresAt": expires_at})).await
        })
        .await
    }
}

/// An instant as events have it.
struct Instant(OffsetDateTime);

impl serde::Serialize for Instant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339_millis(self.0))
    }
}

async fn begin(client: &mut Client) -> Result<Transaction<'_>, Error> {
    let change = client.transaction().await?;
    change.batch_execute(LOCK).await?;
    Ok(change)
}

async fn insert(change: &Transaction<'_>, key: &NewKey, publish: Duration) -> Result<Instant, Error> {
    let (kid, algorithm, publish) = (key.jwk.kid.as_str(), key.algorithm.name(), publish.as_secs_f64());
    // A JWK has only strings, so it always serializes.
    let jwk = serde_json::to_string(&key.jwk).unwrap_or_default();
    let row = change
        .query_typed_one(
            INSERT,
            &[
                (&kid, Type::TEXT),
                (&algorithm, Type::TEXT),
                (&jwk, Type::TEXT),
                (&key.sealed.0, Type::BYTEA),
                (&publish, Type::FLOAT8),
            ],
        )
        .await?;
    row.try_get(0).map(Instant)
}

async fn commit(change: Transaction<'_>, kind: &str, detail: &Value) -> Result<(), KeyStoreError> {
    change.batch_execute(FORGET).await?;
    change.query_typed(EVENT, &[(&kind, Type::TEXT), (&detail.to_string(), Type::TEXT)]).await?;
    Ok(change.commit().await?)
}

async fn snapshot(client: &impl GenericClient) -> Result<Snapshot, KeyStoreError> {
    let rows = client.query_typed(READ, &[]).await?;
    let now = match rows.first() {
        Some(row) => row.try_get(8)?,
        None => client.query_typed_one(CLOCK, &[]).await?.try_get(0)?,
    };
    let (mut keys, mut unsound) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in &rows {
        match stored(row)? {
            Some(key) => keys.push(key),
            None => unsound.push(row.try_get(0)?),
        }
    }
    Ok(Snapshot { keys, unsound, now })
}

/// The key in a row; `None` where the row is malformed or its name is not its key's.
fn stored(row: &Row) -> Result<Option<StoredKey>, Error> {
    let (kid, algorithm, jwk): (&str, &str, &str) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let (Ok(algorithm), Ok(jwk)) = (algorithm.parse(), serde_json::from_str(jwk)) else { return Ok(None) };
    let key = StoredKey {
        algorithm,
        jwk,
        sealed: row.try_get::<_, Option<Vec<u8>>>(3)?.map(Sealed),
        created_at: row.try_get(4)?,
        active_from: row.try_get(5)?,
        retired_at: row.try_get(6)?,
        expires_at: row.try_get(7)?,
    };
    Ok((key.kid() == kid && key.is_sound()).then_some(key))
}
