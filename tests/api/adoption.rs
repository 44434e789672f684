//! Databases that were there before: the Python service's is taken over as it is, a stranger's is left alone.

use std::sync::Arc;

use rollcall::app::AppError;
use rollcall::database::DatabaseError;
use rollcall::database::migrations::MigrationError;
use serde_json::json;

use crate::harness::{EMAIL, Home, PASSWORD, TestApp, TestDatabase, join_all};

/// The Python service's own migration: its statements, in the order that its document shows them run.
const SEED_MIGRATION: &str = r#"
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
CREATE EXTENSION IF NOT EXISTS "pgcrypto";
CREATE TABLE users (
    user_id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name VARCHAR(100) NOT NULL,
    email VARCHAR(255) NOT NULL UNIQUE,
    password_hash VARCHAR(255) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT users_name_not_empty CHECK (LENGTH(TRIM(name)) > 0),
    CONSTRAINT users_email_format CHECK (email ~* '^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$')
);
CREATE INDEX idx_users_email ON users(email);
CREATE INDEX idx_users_created_at ON users(created_at DESC);
CREATE OR REPLACE FUNCTION update_updated_at_column() RETURNS TRIGGER AS $$
BEGIN
    NEW.updated_at = CURRENT_TIMESTAMP;
    RETURN NEW;
END;
$$ language 'plpgsql';
CREATE TRIGGER update_users_updated_at BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
COMMENT ON TABLE users IS 'User accounts';
"#;

const ROWS: &str =
    "SELECT user_id::text, name, email, password_hash, created_at::text, updated_at::text, xmin::text, ctid::text
    FROM users ORDER BY email";

/// The Python service's database with two users in it.
async fn seeded() -> TestDatabase {
    let db = TestDatabase::empty().await;
    db.run(SEED_MIGRATION).await;
    let insert = "INSERT INTO users (name, email, password_hash, created_at, updated_at)
        VALUES ($1, $2, $3, '2025-10-15 12:34:56.789Z', '2025-10-16 00:00:00Z')";
    let hash = bcrypt::hash_with_salt(PASSWORD, 4, [7; 16]).unwrap().format_for_version(bcrypt::Version::TwoB);
    db.execute(insert, &[&"John Doe", &EMAIL, &hash]).await;
    db.execute(insert, &[&"  Jane\tDoe ", &"jane@example.com", &hash]).await;
    db
}

async fn rows(db: &TestDatabase) -> Vec<Vec<String>> {
    db.rows(ROWS, &[]).await.iter().map(|row| (0..8).map(|at| row.get(at)).collect()).collect()
}

#[tokio::test]
async fn the_python_services_database_is_adopted_and_its_users_log_in() {
    let db = Arc::new(seeded().await);
    let before = rows(&db).await;
    let app = TestApp::on(db.clone(), &[]).await;
    assert_eq!(rows(&db).await, before, "no row is rewritten");
    let body = app.login(EMAIL, PASSWORD).await.expect_json(200);
    assert_eq!(body["data"]["user"]["userId"], before[1][0]);
    assert_eq!(body["data"]["user"]["createdAt"], "2025-10-15T12:34:56.789Z");
    let me = app.me(body["data"]["token"].as_str().unwrap()).await.expect_json(200);
    assert_eq!(me["data"], body["data"]["user"]);
    let jane = app.login("jane@example.com", PASSWORD).await.expect_json(200);
    assert_eq!(jane["data"]["user"]["name"], "  Jane\tDoe ", "a stored name is shown as it is stored");
    assert_eq!(rows(&db).await, before, "nor by a login whose hash is good enough");
    app.register_email(EMAIL).await.expect_refusal(409, "email_taken");
    app.register_email("new@example.com").await.expect_json(201);
}

#[tokio::test]
async fn an_outdated_hash_in_an_adopted_database_is_replaced() {
    let db = Arc::new(seeded().await);
    let before = rows(&db).await;
    let app = TestApp::on(db.clone(), &[("hashing.cost", "5")]).await;
    app.login(EMAIL, PASSWORD).await.expect_json(200);
    crate::harness::until("a new hash", async || rows(&db).await[1][3].starts_with("$2b$05$")).await;
    let after = rows(&db).await;
    assert_eq!(after[0], before[0], "only the row of who logged in");
    assert_ne!(after[1][5], before[1][5], "updated_at moves");
    assert_eq!(after[1][..3], before[1][..3]);
}

#[tokio::test]
async fn adoption_waits_for_no_lock_of_others() {
    let db = Arc::new(seeded().await);
    // A long transaction of the Python service has written a row, and another reads.
    let (holder, connection) =
        db.url().parse::<tokio_postgres::Config>().unwrap().connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    holder.batch_execute("BEGIN; UPDATE users SET name = 'Held' WHERE email = 'jane@example.com'").await.unwrap();
    let app = TestApp::on(db.clone(), &[]).await;
    app.login(EMAIL, PASSWORD).await.expect_json(200);
    holder.batch_execute("COMMIT").await.unwrap();
    let jane = app.login("jane@example.com", PASSWORD).await.expect_json(200);
    assert_eq!(jane["data"]["user"]["name"], "Held");
}

#[tokio::test]
async fn the_python_service_can_go_on_beside_it() {
    let db = Arc::new(seeded().await);
    let app = TestApp::on(db.clone(), &[]).await;
    // What SQLAlchemy would run.
    db.run("INSERT INTO users (user_id, name, email, password_hash) SELECT gen_random_uuid(), 'Py', 'py@example.com', password_hash FROM users LIMIT 1").await;
    app.login("py@example.com", PASSWORD).await.expect_json(200);
    app.register_email("py@example.com").await.expect_refusal(409, "email_taken");
    db.run(SEED_MIGRATION.split("CREATE TABLE").next().unwrap()).await;
}

async fn expect_foreign(sql: &str, words: &str) {
    let db = TestDatabase::empty().await;
    db.run(sql).await;
    let refused = TestApp::try_start(&db, &[]).await;
    let Err(AppError::Database(DatabaseError::Migration(MigrationError::Foreign(cause)))) = refused else {
        panic!("{refused:?}");
    };
    assert!(cause.contains(words), "{cause}");
    let untouched: bool = db.value("SELECT to_regclass('rollcall_migrations') IS NULL", &[]).await;
    assert!(untouched, "nothing is left in a database that is refused");
    let exit = Home::new().serve_on(&db).run().await;
    exit.expect_failure(&["the table users cannot be adopted", words, "database.url"]);
}

#[tokio::test]
async fn a_strangers_table_of_users_is_refused() {
    expect_foreign("CREATE TABLE users (id SERIAL PRIMARY KEY, login TEXT)", "it has no column user_id").await;
}

#[tokio::test]
async fn a_table_of_users_with_a_column_of_another_type_is_refused() {
    let sql =
        SEED_MIGRATION.replace("user_id UUID PRIMARY KEY DEFAULT gen_random_uuid()", "user_id BIGINT PRIMARY KEY");
    expect_foreign(&sql, "its column user_id is of type int8").await;
}

#[tokio::test]
async fn a_table_of_users_whose_addresses_are_not_unique_is_refused() {
    expect_foreign(&SEED_MIGRATION.replace("NOT NULL UNIQUE", "NOT NULL"), "its column email is not UNIQUE").await;
}

#[tokio::test]
async fn a_strangers_view_of_that_name_is_refused() {
    let db = TestDatabase::empty().await;
    db.run("CREATE VIEW users AS SELECT 1 AS one").await;
    assert!(matches!(TestApp::try_start(&db, &[]).await, Err(AppError::Database(DatabaseError::Migration(_)))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_the_table_refuses_costs_its_own_request_only() {
    let app = TestApp::with(&[("database.write_batches", "1")]).await;
    app.db.run("ALTER TABLE users ADD CONSTRAINT no_roe CHECK (name <> 'Jane Roe')").await;
    let register = async |n: usize| {
        let name = if n.is_multiple_of(5) { "Jane Roe" } else { "Ann Lee" };
        let body = json!({"name": name, "email": format!("user{n}@example.com"), "password": PASSWORD});
        (n, app.register(&body).await)
    };
    for (n, answer) in join_all((0..60).map(register)).await {
        if n.is_multiple_of(5) {
            answer.expect_refusal(503, "unavailable");
        } else {
            answer.expect_json(201);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_read_costs_nobody_else_an_answer() {
    let app = TestApp::with(&[("database.read_batches", "1")]).await;
    app.register_john().await;
    let token = app.token().await;
    app.register_email("odd@example.com").await.expect_json(201);
    let odd = app.login("odd@example.com", PASSWORD).await.expect_json(200);
    let odd = odd["data"]["token"].as_str().unwrap();
    app.db.run("UPDATE users SET created_at = 'infinity' WHERE email = 'odd@example.com'").await;
    let both = (0..40).map(|n| app.me(if n % 2 == 0 { &token } else { odd }));
    for (n, answer) in join_all(both).await.into_iter().enumerate() {
        if n % 2 == 0 {
            answer.expect_json(200);
        } else {
            answer.expect_refusal(401, "invalid_token");
        }
    }
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_name_is_refused() {
    let (home, db) = (Home::new(), TestDatabase::empty().await);
    let name = "latin1_of_the_tests";
    db.run(&format!("CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")).await;
    let url = TestDatabase::url_of_database(name);
    home.serve_on(&db).env("DATABASE_URL", &url).run().await.expect_failure(&["LATIN1", "UTF8"]);
}
