//! Makes key rings from the secret, the table of keys, and the time.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use secrecy::SecretString;
use thiserror::Error;
use time::OffsetDateTime;

use super::metrics::KeyMetrics;
use super::ring::{Key, Ring};
use crate::config;
use crate::crypto::encryption::EncryptionKeys;
use crate::features::tokens::signing_key::{Jwk, State, StoredKey};
use crate::features::tokens::store::{KeyStore, KeyStoreError, Snapshot};
use crate::telemetry::TelemetryError;

/// Why there is no ring to start with.
#[derive(Debug, Error)]
pub enum KeyringError {
    /// The table can't be read.
    #[error(transparent)]
    Store(#[from] KeyStoreError),
    /// The keys are encrypted, and no encryption key is set.
    #[error(
        "tokens.encryption_key is not set, and the database has signing keys; set it \
         (ROLLCALL__TOKENS__ENCRYPTION_KEY) to the one that they were added with"
    )]
    NoEncryptionKey,
    /// No encryption key opens them.
    #[error(
        "tokens.encryption_key opens none of the database's signing keys; set it (ROLLCALL__TOKENS__ENCRYPTION_KEY) or \
         tokens.previous_encryption_key to the one that they are encrypted under, or retire them with `rollcall keys retire`"
    )]
    WrongEncryptionKey,
    /// Nothing may sign.
    #[error(
        "tokens.accept_secret is false, and there is no key to sign with; add one with `rollcall keys add`, or set it to true"
    )]
    NoSigner,
    /// Its metrics could not be registered.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
}

/// Makes rings, and keeps the latest for all callers.
pub struct Keyring {
    pub(super) store: KeyStore,
    pub(super) ttl: Duration,
    pub(super) publish: Duration,
    /// `None` where the secret is not accepted.
    secret: Option<Arc<Key>>,
    encryption: Option<EncryptionKeys>,
    metrics: KeyMetrics,
    /// The latest ring, which every request reads.
    ring: ArcSwap<Ring>,
    latest: Mutex<Latest>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(…)")
    }
}

/// The state of the last read.
struct Latest {
    snapshot: Snapshot,
    /// How far the database's clock is ahead of this machine's.
    ahead: time::Duration,
    /// Whether the last read failed.
    is_stale: bool,
}

impl Keyring {
    /// Reads the table, and makes the first ring.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub async fn open(
        secret: &SecretString,
        config: &config::Tokens,
        store: KeyStore,
        metrics: KeyMetrics,
    ) -> Result<Self, KeyringError> {
        let snapshot = store.read().await?;
        Self::new(secret, config, (store, snapshot), metrics)
    }

    /// A key ring of the secret alone, without reading the table.
    ///
    /// # Errors
    /// [`KeyringError::NoSigner`] where the secret is not accepted.
    pub fn of_secret(
        secret: &SecretString,
        config: &config::Tokens,
        store: KeyStore,
        metrics: KeyMetrics,
    ) -> Result<Self, KeyringError> {
        let snapshot = Snapshot { keys: Vec::new(), unsound: Vec::new(), now: OffsetDateTime::now_utc() };
        Self::new(secret, config, (store, snapshot), metrics)
    }

    fn new(
        secret: &SecretString,
        config: &config::Tokens,
        (store, snapshot): (KeyStore, Snapshot),
        metrics: KeyMetrics,
    ) -> Result<Self, KeyringError> {
        let secret = config.accept_secret.then(|| Arc::new(Key::of_secret(secret)));
        let encryption = config.encryption_keys.clone();
        let ring = Ring::new(secret.as_ref(), &snapshot, encryption.as_ref(), snapshot.now, None);
        let signing = snapshot.keys.iter().filter(|key| key.may_sign(snapshot.now)).count();
        if signing > 0 && encryption.is_none() {
            return Err(KeyringError::NoEncryptionKey);
        }
        if signing > 0 && ring.unreadable().len() >= signing {
            return Err(KeyringError::WrongEncryptionKey);
        }
        if ring.signer().is_none() {
            return Err(KeyringError::NoSigner);
        }
        let ahead = snapshot.now - OffsetDateTime::now_utc();
        let latest = Latest { snapshot, ahead, is_stale: false };
        let ring = ArcSwap::from_pointee(ring);
        let (ttl, publish) = (config.ttl, config.publish);
        let keyring = Self { store, ttl, publish, secret, encryption, metrics, ring, latest: Mutex::new(latest) };
        let now = keyring.latest().snapshot.now;
        keyring.count(&keyring.latest(), now);
        keyring.log(&keyring.latest());
        Ok(keyring)
    }

    /// The latest ring.
    pub(super) fn ring(&self) -> Guard<Arc<Ring>> {
        self.ring.load()
    }

    /// Renews the ring from another read of the table, or for the time alone where that failed.
    pub(super) fn renew(&self, read: Result<Snapshot, KeyStoreError>) {
        let mut latest = self.latest();
        let mut is_new = false;
        match read {
            Ok(snapshot) => {
                is_new = snapshot.unsound != latest.snapshot.unsound;
                if latest.is_stale {
                    tracing::info!("the signing keys can be read again");
                }
                latest.is_stale = false;
                latest.ahead = snapshot.now - OffsetDateTime::now_utc();
                latest.snapshot = snapshot;
            }
            Err(error) => {
                if !latest.is_stale {
                    tracing::warn!(%error, "the key ring stays as it is");
                }
                latest.is_stale = true;
                self.metrics.read_failures.inc();
            }
        }
        let now = OffsetDateTime::now_utc() + latest.ahead;
        let (secret, encryption) = (self.secret.as_ref(), self.encryption.as_ref());
        let known = self.ring();
        let ring = Ring::new(secret, &latest.snapshot, encryption, now, Some(&known));
        if !ring.is(&known) {
            self.ring.store(Arc::new(ring));
            is_new = true;
        }
        self.count(&latest, now);
        if is_new {
            self.log(&latest);
        }
    }

    /// The public keys that others may check tokens with.
    pub(super) fn jwks(&self) -> Vec<Jwk> {
        self.ring().stored().map(|key| key.jwk.clone()).collect()
    }

    /// Describes the ring in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let (latest, ring) = (self.latest(), self.ring());
        let name = |key: &Key| key.kid().unwrap_or("tokens.secret").to_owned();
        let signs = ring.signer().map_or_else(|| "nothing".to_owned(), name);
        let now = latest.snapshot.now;
        let secret = self.secret.is_some().then(|| "tokens.secret".to_owned());
        let keys = ring.stored().map(|key| {
            let (kid, algorithm, state) = (key.kid(), key.algorithm.name(), key.state(now).name());
            format!("{kid} ({algorithm}, {state})")
        });
        let all = secret.into_iter().chain(keys).collect::<Vec<_>>().join(", ");
        let mut words = format!("{signs} signs; in the ring: {all}");
        let unreadable = ring.unreadable();
        if !unreadable.is_empty() {
            words =
                format!("{words}; not opened by tokens.encryption_key or the previous one: {}", unreadable.join(", "));
        }
        if !latest.snapshot.unsound.is_empty() {
            words = format!("{words}; out of form: {}", latest.snapshot.unsound.join(", "));
        }
        if let Some(need) = self.need_of_previous(&latest.snapshot) {
            words = format!("{words}; {need}");
        }
        words
    }

    /// Describes what still needs the previous encryption key, where one is set.
    fn need_of_previous(&self, snapshot: &Snapshot) -> Option<String> {
        let keys = self.encryption.as_ref()?;
        let previous = keys.previous.as_ref()?;
        let signing = snapshot.keys.iter().filter(|key| key.may_sign(snapshot.now));
        let needing = signing.filter(|key| key.open_with(&keys.current).is_err() && key.open_with(previous).is_ok());
        let needing: Vec<_> = needing.map(StoredKey::kid).collect();
        Some(if needing.is_empty() {
            "nothing needs tokens.previous_encryption_key any more".to_owned()
        } else {
            let kids = needing.join(", ");
            format!("tokens.previous_encryption_key is needed until `rollcall keys reseal` for {kids}")
        })
    }

    /// Sets the metrics of the ring at `now`.
    fn count(&self, latest: &Latest, now: OffsetDateTime) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for state in [State::Published, State::Active, State::Retired] {
            let count = self.ring().stored().filter(|key| key.state(now) == state).count();
            self.metrics.signing_keys.with_label_values(&[state.name()]).set(number(count));
        }
        let unusable = self.ring().unreadable().len() + latest.snapshot.unsound.len();
        self.metrics.unusable.set(number(unusable));
    }

    /// Logs the ring.
    fn log(&self, latest: &Latest) {
        let ring = self.ring();
        let signer = ring.signer().map(|key| key.kid().unwrap_or("HS256"));
        tracing::info!(signer, keys = ring.stored().count(), "the key ring");
        let unreadable = ring.unreadable().join(", ");
        if !unreadable.is_empty() {
            tracing::error!(
                kids = unreadable,
                "neither tokens.encryption_key nor the previous one opens keys that may sign"
            );
        }
        if !latest.snapshot.unsound.is_empty() {
            tracing::error!(kids = latest.snapshot.unsound.join(", "), "the database has signing keys out of form");
        }
        if signer.is_none() {
            tracing::error!("there is no key to sign with: logins are refused");
        }
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
