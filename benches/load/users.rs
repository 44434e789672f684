//! The users whose tokens and logins the load is made of: the same in both databases.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;
use tokio_postgres::Client;

use super::Outcome;

/// Distinct users.
pub(crate) const COUNT: u32 = 5000;
/// Everyone's password.
pub(crate) const PASSWORD: &str = "Measured-2-Day";
/// Of every hash here, and of what both services make: the default.
pub(crate) const COST: u32 = 12;
/// What both services sign tokens with.
pub(crate) const JWT_SECRET: &str = "a secret of the benchmark, known to everybody";
/// For tokens, from when they are signed.
const TTL: Duration = Duration::from_hours(24);

/// What a load needs of the users.
#[derive(Debug)]
pub(crate) struct Users {
    pub(crate) emails: Vec<String>,
    pub(crate) tokens: Vec<String>,
    hash: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Claims<'a> {
    user_id: String,
    email: &'a str,
    iat: u64,
    exp: u64,
}

impl Users {
    /// Signs the tokens and hashes the password, once for all users.
    pub(crate) fn new() -> Outcome<Self> {
        let emails: Vec<_> = (1..=COUNT).map(|n| format!("user{n}@example.com")).collect();
        let id = |(n, email): (u32, &String)| (format!("00000000-0000-4000-8000-{n:012x}"), email.clone());
        let tokens = sign((1..=COUNT).zip(&emails).map(id))?;
        Ok(Self { emails, tokens, hash: bcrypt::hash(PASSWORD, COST)? })
    }

    /// Inserts them, numbered from 1, with the number in id, name and address.
    pub(crate) async fn insert(&self, client: &Client) -> Outcome<()> {
        let insert = "INSERT INTO users (user_id, name, email, password_hash)
            SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'User ' || n,
                   'user' || n || '@example.com', $1
            FROM generate_series(1, $2::int) AS n";
        client.execute(insert, &[&self.hash, &COUNT.cast_signed()]).await?;
        // Now, rather than by the autovacuum in the middle of a measurement.
        client.batch_execute("VACUUM ANALYZE users").await?;
        Ok(())
    }
}

/// Tokens of users, each named by id and address.
pub(crate) fn sign(users: impl Iterator<Item = (String, String)>) -> Outcome<Vec<String>> {
    // Fails where it is installed already, which is as good.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let (iat, exp) = (now.as_secs(), (now + TTL).as_secs());
    let sign = |(user_id, email): (String, String)| {
        jsonwebtoken::encode(&Header::default(), &Claims { user_id, email: &email, iat, exp }, &key)
    };
    Ok(users.map(sign).collect::<Result<_, _>>()?)
}
