//! From every schema version to the newest: what an older program left still works, and so does an older program that is left
//! running beside the newest.
//!
//! `tests/fixtures/upgrades` has a file for each step of `sql`: what is added to a database at that step, before the next one
//! runs. `tests/fixtures/replicas` has statements of older programs, in files `FIRST-LAST_STORE.sql`: the first and the last
//! schema version that such programs knew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonwebtoken::Algorithm;
use rollcall::features::schema;
use serde_json::json;
use uuid::Uuid;

use super::audit::{log, verdict};
use super::keys::{ENCRYPTION_KEY, claims, forge, kid, private, published};
use crate::harness::{Api, EMAIL, PASSWORD, TestApp, TestDatabase, until};

/// The keys of the fixtures: one that signs, and one that is retired and whose tokens are still good.
const SIGNS: &str = "5RMe5eLZ0bMVNv65E2EKVlhPo5nz4dg0haSXwtdm2l4";
const RETIRED: &str = "Z5_V6iEZgqa3t7NStjzO-boAT4kY-m3Ay3PzLPRyxYM";
/// The last event of the fixtures that is sealed.
const ANCHOR: &str = "18:ac5cd621c273d2735db30398f41c528ecea9da1155253e41278427add7afd3d1";

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The steps of the schema: version, name and text.
fn steps() -> BTreeMap<i32, (String, String)> {
    let files = fs::read_dir(at("sql")).unwrap().map(|entry| entry.unwrap().path());
    let steps: BTreeMap<_, _> = files
        .map(|path| {
            let (version, name) = path.file_stem().unwrap().to_str().unwrap().split_once('_').unwrap();
            (version.parse().unwrap(), (name.to_owned(), fs::read_to_string(&path).unwrap()))
        })
        .collect();
    assert!(
        steps.keys().copied().eq(1..=schema().latest()),
        "the files of sql are not the steps that the program knows: {steps:?}"
    );
    steps
}

/// A database as programs of schema version `version` left it.
async fn left_at(version: i32) -> TestDatabase {
    let db = TestDatabase::empty().await;
    db.run(
        "CREATE TABLE rollcall_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL,
             applied_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP)",
    )
    .await;
    for (step, (name, sql)) in steps().range(..=version) {
        db.run(sql).await;
        db.execute("INSERT INTO rollcall_migrations (version, name) VALUES ($1, $2)", &[step, name]).await;
        let data = at(&format!("tests/fixtures/upgrades/{step:04}.sql"));
        let data = fs::read_to_string(&data).unwrap_or_else(|error| {
            panic!("{}: {error}; step {step} of the schema needs data there for what it adds", data.display())
        });
        db.run(&data).await;
    }
    db
}

/// Columns in which no row has anything but the default: an upgrade that loses them would not be seen.
async fn columns_without_data(db: &TestDatabase) -> Vec<String> {
    let sql = "SELECT c.relname::text, a.attname::text, coalesce(pg_get_expr(d.adbin, d.adrelid), 'NULL')
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (c.oid, a.attnum)
        WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
            AND c.relname <> 'rollcall_migrations' AND a.attname <> 'only_row'";
    let mut without = Vec::new();
    for row in db.rows(sql, &[]).await {
        let [table, column, default]: [String; 3] = [row.get(0), row.get(1), row.get(2)];
        let sql = format!("SELECT count(*) FROM {table} WHERE {column} IS DISTINCT FROM {default}");
        if db.value::<i64>(&sql, &[]).await == 0 {
            without.push(format!("{table}.{column}"));
        }
    }
    without
}

/// The newest service on `db`, whose older programs are gone or still run.
async fn upgraded(db: TestDatabase) -> TestApp {
    let overrides = [("tokens.encryption_key", ENCRYPTION_KEY), ("audit.seal_ms", "5")];
    TestApp::on(Arc::new(db), &overrides).await
}

async fn tables(db: &TestDatabase) -> BTreeSet<String> {
    let sql =
        "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'rollcall_migrations'";
    db.rows(sql, &[]).await.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_any_version_left_still_works() {
    for version in 1..=schema().latest() {
        println!("from version {version}");
        let db = left_at(version).await;
        let (tables, without) = (tables(&db).await, columns_without_data(&db).await);
        let data = format!("tests/fixtures/upgrades/{version:04}.sql");
        assert!(without.is_empty(), "{data}, or a file before it, needs rows with more than defaults in {without:?}");
        let app = upgraded(db).await;
        assert_eq!(app.db.value::<i32>("SELECT max(version) FROM rollcall_migrations", &[]).await, schema().latest());
        for table in tables {
            match table.as_str() {
                "users" => users_log_in(&app).await,
                "audit_events" => the_log_holds(&app).await,
                "audit_chain" => {}
                "login_attempts" => counters_count_on(&app, version).await,
                "signing_keys" => keys_are_used(&app).await,
                other => {
                    panic!("{data} fills the table {other}; check here what a service makes of it after the upgrade")
                }
            }
        }
    }
}

async fn users_log_in(app: &TestApp) {
    let elsewhere = Api::from_loopback(app.addr, 2);
    let sql = "SELECT user_id, name, email, password_hash FROM users WHERE email <> 'afterwards@example.com'";
    let users = app.db.rows(sql, &[]).await;
    assert_eq!(users.len(), 7);
    for user in users {
        let (id, name, email): (Uuid, String, String) = (user.get(0), user.get(1), user.get(2));
        // One is known at home, and some have counters there.
        let api: &Api = if email.starts_with("besieged") { app } else { &elsewhere };
        let login = api.login(&email, PASSWORD).await;
        if user.get::<_, String>(3).is_empty() {
            login.expect_refusal(401, "invalid_credentials");
            continue;
        }
        let login = login.expect_json(200);
        let me = app.me(login["data"]["token"].as_str().unwrap()).await.expect_json(200);
        assert_eq!((&me["data"]["userId"], &me["data"]["name"]), (&json!(id), &json!(name)), "{email}");
        api.login(&email, "WrongPass123").await.expect_refusal(401, "invalid_credentials");
    }
}

async fn the_log_holds(app: &TestApp) {
    let log = log(&app.db).await;
    let anchor = ANCHOR.parse().unwrap();
    // Among them the one that nobody had sealed, and those that tell of the logins here.
    let unsealed = "SELECT count(*) FROM audit_events WHERE sequence IS NULL";
    app.register_email("afterwards@example.com").await.expect_json(201);
    until("all sealed", async || app.db.value::<i64>(unsealed, &[]).await == 0).await;
    let verified = log.verify(Some(anchor)).await.unwrap();
    assert_eq!((verified.ends.start.sequence, verified.pruned_by), (6, Some(7)));
    assert!(verified.ends.head.sequence >= 18 + 2, "{:?}", verified.ends);
}

async fn counters_count_on(app: &TestApp, version: i32) {
    let locked = app.login("locked@example.com", PASSWORD).await;
    locked.expect_refusal(429, "too_many_attempts");
    let seconds: u64 = locked.header("retry-after").unwrap().parse().unwrap();
    let is_second = version >= 6;
    assert_eq!(seconds > 900, is_second, "{seconds}");
    let stranger = Api::from_loopback(app.addr, 9);
    stranger.login("besieged@example.com", PASSWORD).await.expect_refusal(429, "too_many_attempts");
    app.login("besieged@example.com", PASSWORD).await.expect_json(200);
    // The tenth failure of ten; what was under way has expired.
    app.login("a@b.co", "WrongPass123").await.expect_refusal(401, "invalid_credentials");
    app.login("a@b.co", PASSWORD).await.expect_refusal(429, "too_many_attempts");
    let void = "SELECT count(*) FROM login_attempts WHERE expires_at < now()";
    until("what is void deleted", async || app.db.value::<i64>(void, &[]).await == 0).await;
}

async fn keys_are_used(app: &TestApp) {
    assert_eq!(published(app).await, [RETIRED, SIGNS]);
    let login = app.login(EMAIL, PASSWORD).await.expect_json(200);
    assert_eq!(kid(login["data"]["token"].as_str().unwrap()), SIGNS);
    for (name, alg, algorithm) in [(SIGNS, "EdDSA", Algorithm::EdDSA), (RETIRED, "ES256", Algorithm::ES256)] {
        let header = json!({"alg": alg, "kid": name}).to_string();
        let token = forge(&header, &claims(&login["data"]["user"]), algorithm, &private(&app.db, name).await);
        app.me(&token).await.expect_json(200);
    }
}

/// Statements of older programs by store, in the order of the versions that they are of.
fn statements() -> BTreeMap<String, BTreeMap<(i32, i32), String>> {
    let mut stores: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for entry in fs::read_dir(at("tests/fixtures/replicas")).unwrap() {
        let path = entry.unwrap().path();
        let (versions, store) = path.file_stem().unwrap().to_str().unwrap().split_once('_').unwrap();
        let (first, last) = versions.split_once('-').unwrap();
        let versions = (first.parse().unwrap(), last.parse().unwrap());
        stores.entry(store.to_owned()).or_default().insert(versions, fs::read_to_string(&path).unwrap());
    }
    stores
}

#[test]
fn statements_of_every_version_are_there() {
    let stores = statements();
    assert_eq!(stores["accounts"].keys().next().unwrap().0, 1);
    for (store, files) in stores {
        let mut next = files.keys().next().unwrap().0;
        for (first, last) in files.keys() {
            assert_eq!(*first, next, "{store}: a version has no statements, or has them twice");
            next = last + 1;
        }
        assert_eq!(
            next,
            schema().latest(),
            "tests/fixtures/replicas needs the {store} statements of programs that knew version {next}: where they are those \
             of the last file, name that one for {next} as well"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_of_older_programs_work_beside_the_newest() {
    for (store, files) in statements() {
        for (versions, sql) in files {
            println!("{store} of versions {versions:?}");
            let db = TestDatabase::migrated().await;
            db.run(&sql).await;
            let app = upgraded(db).await;
            app.register_email("afterwards@example.com").await.expect_json(201);
            match store.as_str() {
                "accounts" => {
                    for email in [EMAIL, "locked@example.com"] {
                        app.login(email, PASSWORD).await.expect_json(200);
                    }
                }
                "login" => {
                    app.login("locked@example.com", PASSWORD).await.expect_refusal(429, "too_many_attempts");
                    app.login(EMAIL, PASSWORD).await.expect_refusal(401, "invalid_credentials");
                }
                "tokens" => {
                    assert_eq!(published(&app).await, [SIGNS]);
                    let login = app.login("afterwards@example.com", PASSWORD).await.expect_json(200);
                    assert_eq!(kid(login["data"]["token"].as_str().unwrap()), SIGNS);
                }
                "audit" => {}
                other => panic!(
                    "check here what the newest service makes of what older ones write with {other}'s statements"
                ),
            }
            let unsealed = "SELECT count(*) FROM audit_events WHERE sequence IS NULL";
            until("all sealed", async || app.db.value::<i64>(unsealed, &[]).await == 0).await;
            let count = app.db.value::<i64>("SELECT count(*) FROM audit_events", &[]).await;
            assert_eq!(verdict(&app.db).await, Ok(count));
        }
    }
}
