//! The keys that tokens are signed with: added, replaced, retired, published, on every replica.

mod command;
mod encryption;
mod lives;
mod published;
mod reseal;
mod verification;

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rollcall::config::Config;
use rollcall::crypto::encryption::EncryptionKey;
use rollcall::database::Database;
use rollcall::features::tokens::store::KeyStore;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::harness::program::{Exit, Start};
use crate::harness::{EMAIL, Home, PATIENCE, TestApp, TestDatabase, until};

/// What private keys are encrypted under in these tests.
pub const ENCRYPTION_KEY: &str = "5f1c0b2d3e4f60718293a4b5c6d7e8f900112233445566778899aabbccddeeff";
const ANOTHER_ENCRYPTION_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const JWKS: &str = "/.well-known/jwks.json";

/// Whoever runs `rollcall keys` on a database.
struct Operator {
    home: Home,
    db: Arc<TestDatabase>,
}

impl Operator {
    async fn new() -> Self {
        Self { home: Home::new(), db: Arc::new(TestDatabase::migrated().await) }
    }

    fn keys(&self, args: &[&str]) -> Start {
        self.home
            .program(&[&["keys"], args].concat())
            .env("DATABASE_URL", &self.db.url())
            .env("ROLLCALL__TOKENS__ENCRYPTION_KEY", ENCRYPTION_KEY)
    }

    async fn run(&self, args: &[&str]) -> Exit {
        self.keys(args).run().await
    }

    /// Runs it with `--json`; gives the keys but for the secret, the oldest first.
    async fn json(&self, args: &[&str]) -> Vec<Value> {
        let exit = self.run(&[args, &["--json"]].concat()).await;
        assert_eq!(exit.code, Some(0), "{exit:?}");
        let told: Value = serde_json::from_str(&exit.stdout).unwrap();
        told["keys"].as_array().unwrap()[1..].to_vec()
    }

    /// Adds a key; gives its name.
    async fn add(&self, algorithm: &str) -> String {
        let keys = self.json(&["add", "--algorithm", algorithm]).await;
        keys.last().unwrap()["kid"].as_str().unwrap().to_owned()
    }

    /// Adds a key whose time has come.
    async fn add_active(&self, algorithm: &str) -> String {
        let kid = self.add(algorithm).await;
        self.let_time_pass().await;
        kid
    }

    async fn rotate(&self) -> String {
        let keys = self.json(&["rotate"]).await;
        keys.last().unwrap()["kid"].as_str().unwrap().to_owned()
    }

    /// What is to come between publication and expiry comes now.
    async fn let_time_pass(&self) {
        let sql = "UPDATE signing_keys SET active_from = least(active_from, now()),
            retired_at = CASE WHEN retired_at IS NULL THEN NULL ELSE least(retired_at, now()) END";
        self.db.run(sql).await;
    }

    /// A replica on the database.
    async fn replica(&self) -> TestApp {
        self.replica_with(&[]).await
    }

    async fn replica_with(&self, overrides: &[(&str, &str)]) -> TestApp {
        let overrides = [&[("tokens.encryption_key", ENCRYPTION_KEY)], overrides].concat();
        TestApp::on(Arc::clone(&self.db), &overrides).await
    }

    /// The private key itself.
    async fn private(&self, kid: &str) -> EncodingKey {
        private(&self.db, kid).await
    }
}

/// A private key that `db` has.
pub async fn private(db: &TestDatabase, kid: &str) -> EncodingKey {
    let config = Config::with(&[("database.url", &db.url())]).unwrap();
    let database = Database::open(&config.database, Path::new("/nonexistent")).await.unwrap();
    let snapshot = KeyStore::new(database.pool.clone(), PATIENCE).read().await.unwrap();
    database.close().await;
    let key = snapshot.keys.iter().find(|key| key.kid() == kid).unwrap();
    let private = key.open_with(&EncryptionKey::parse(ENCRYPTION_KEY).unwrap()).unwrap();
    if key.jwk.kty == "EC" { EncodingKey::from_ec_der(&private) } else { EncodingKey::from_ed_der(&private) }
}

/// Claims that hold for the user of this id.
pub fn claims(user: &Value) -> Value {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    json!({"userId": user["userId"], "email": EMAIL, "iat": now, "exp": now + 600})
}

/// A token of exactly this header, its signature by `algorithm` and `key` whatever the header says.
pub fn forge(header: &str, claims: &Value, algorithm: Algorithm, key: &EncodingKey) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// The header of a token, as text.
fn header(token: &str) -> String {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

/// Who signed a token; null is the secret.
pub fn kid(token: &str) -> Value {
    serde_json::from_str::<Value>(&header(token)).unwrap()["kid"].clone()
}

/// The names of the published keys.
pub async fn published(app: &TestApp) -> Vec<String> {
    let set = app.get(JWKS).await.expect_json(200);
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the usual user's tokens are signed with the key `wanted`.
async fn signs(app: &TestApp, wanted: &str) {
    until("another signer", async || kid(&app.token().await) == wanted).await;
}
