//! Encrypts private keys again when the encryption key changes.

use serde_json::json;
use tokio_postgres::types::Type;

use super::{KeyStore, KeyStoreError, begin, commit, snapshot};
use crate::crypto::encryption::{EncryptionError, EncryptionKeys};
use crate::database::lender::lend;
use crate::features::tokens::signing_key::{Sealed, StoredKey};

const RESEAL: &str = "UPDATE signing_keys SET private_key = $2 WHERE kid = $1";

impl KeyStore {
    /// Encrypts every private key that may sign under the current one of `keys`. Returns the names of those that were
    /// encrypted under the previous one. If neither key opens one, none is changed.
    ///
    /// # Errors
    /// [`KeyStoreError::Failed`], [`KeyStoreError::Encryption`], [`KeyStoreError::Unreadable`].
    pub async fn reseal(&self, keys: &EncryptionKeys) -> Result<Vec<String>, KeyStoreError> {
        lend(&self.pool, self.timeout, async |client| {
            let change = begin(client).await?;
            let found = snapshot(&*change).await?;
            let resealed = reseal(found.keys.iter().filter(|key| key.may_sign(found.now)), keys)?;
            for (kid, Sealed(sealed)) in &resealed {
                change.execute_typed(RESEAL, &[(kid, Type::TEXT), (sealed, Type::BYTEA)]).await?;
            }
            let kids: Vec<_> = resealed.into_iter().map(|(kid, _)| kid).collect();
            if !kids.is_empty() {
                commit(change, "key_resealed", &json!({"kids": kids})).await?;
            }
            Ok(kids)
        })
        .await
    }
}

fn reseal<'a>(
    stored: impl Iterator<Item = &'a StoredKey>,
    keys: &EncryptionKeys,
) -> Result<Vec<(String, Sealed)>, KeyStoreError> {
    let (mut resealed, mut unreadable) = (Vec::new(), Vec::new());
    for key in stored {
        match key.reseal(keys) {
            Ok(Some(sealed)) => resealed.push((key.kid().to_owned(), sealed)),
            Ok(None) => {}
            Err(EncryptionError::Unreadable) => unreadable.push(key.kid()),
            Err(error @ EncryptionError::Failed) => return Err(KeyStoreError::Encryption(error)),
        }
    }
    if unreadable.is_empty() { Ok(resealed) } else { Err(KeyStoreError::Unreadable(unreadable.join(", "))) }
}
