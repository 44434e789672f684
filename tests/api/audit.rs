//! The audit log: written with what it tells of, sealed in order by whichever service comes first, and never quietly changed.

mod chain;
mod cli;
mod events;
mod pruning;
mod sealing;

use rollcall::config::Config;
use rollcall::database::Database;
use rollcall::features::audit::store::log::AuditLog;
use serde_json::Value;

use crate::harness::{PATIENCE, TestApp, TestDatabase, until};

/// Everything an event tells but for its times and numbers.
type Told = (String, Option<String>, Option<String>, Option<String>, String);

/// All events, in the order of writing.
async fn events(db: &TestDatabase) -> Vec<Told> {
    let sql = "SELECT kind, user_id::text, email, source, detail::text FROM audit_events ORDER BY event_id";
    let rows = db.rows(sql, &[]).await;
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))).collect()
}

/// Waits until every event of the database is sealed, and there are `count`.
async fn sealed(db: &TestDatabase, count: i64) {
    let sql = "SELECT count(*) = $1 AND count(sequence) = $1 FROM audit_events";
    until("sealed events", async || db.value(sql, &[&count]).await).await;
}

/// A service that seals often.
async fn app() -> TestApp {
    TestApp::with(&[("audit.seal_ms", "5")]).await
}

/// A service whose users' registrations are sealed: events 1 to `count`.
async fn app_with(count: i64) -> TestApp {
    let app = app().await;
    for n in 1..=count {
        app.register_email(&format!("user{n}@example.com")).await.expect_json(201);
    }
    sealed(&app.db, count).await;
    app
}

pub async fn log(db: &TestDatabase) -> AuditLog {
    let config = Config::with(&[("database.url", &db.url())]).unwrap();
    let database = Database::open(&config.database, "/nonexistent".as_ref()).await.unwrap();
    AuditLog::new(database.pool.clone(), PATIENCE)
}

/// What the verifier says: how many events there are, or the first break.
pub async fn verdict(db: &TestDatabase) -> Result<i64, String> {
    match log(db).await.verify(None).await {
        Ok(verified) => Ok(verified.ends.head.sequence - verified.ends.start.sequence),
        Err(error) => Err(error.to_string()),
    }
}

/// As one with all rights would: the triggers are off.
async fn tamper(db: &TestDatabase, sql: &str) {
    db.run(&format!("BEGIN; SET LOCAL session_replication_role = replica; {sql}; COMMIT")).await;
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
