//! What becomes of those who go on: longer locks, and refusals that cost no statement; beside replicas of the version before.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use time::OffsetDateTime;

use super::metrics::sample;
use crate::harness::{Answer, Api, EMAIL, PASSWORD, TestApp, TestDatabase, join_all, soon, until};

const OTHER: &str = "jane.doe@example.com";
const PATIENT: (&str, &str) = ("hashing.max_wait_ms", "60000");
const SWIFT: (&str, &str) = ("limits.delay_after", "10000");

async fn wrong(api: &Api, email: &str) -> Answer {
    api.login(email, "WrongPass123").await
}

async fn leases(db: &TestDatabase) -> i64 {
    db.value("SELECT coalesce(sum(cardinality(leases)), 0)::bigint FROM login_attempts", &[]).await
}

#[tokio::test]
async fn each_lock_is_twice_as_long_as_the_one_before() {
    let app = TestApp::with(&[SWIFT, ("limits.lock_after", "1")]).await;
    app.register_john().await;
    let pass = async |seconds: u64| {
        app.db.run(&format!("UPDATE login_attempts SET failed_at = failed_at - interval '{seconds} s'")).await;
    };
    let locked_for = async || {
        wrong(&app, EMAIL).await.expect_refusal(401, "invalid_credentials");
        let refused = app.login(EMAIL, PASSWORD).await;
        refused.expect_refusal(429, "too_many_attempts");
        refused.header("retry-after").unwrap().parse::<u64>().unwrap()
    };
    for (seconds, expected) in [(900, 450..=900), (1800, 901..=1800)] {
        let told = locked_for().await;
        assert!(expected.contains(&told), "{told}");
        pass(seconds).await;
    }
    let sql = "SELECT detail->>'seconds' FROM audit_events WHERE kind = 'login_locked' ORDER BY event_id";
    let told: Vec<String> = app.db.rows(sql, &[]).await.iter().map(|row| row.get(0)).collect();
    assert_eq!(told, ["900", "1800"]);
    app.login(EMAIL, PASSWORD).await.expect_json(200);
    let told = locked_for().await;
    assert!((450..=900).contains(&told), "a success ends the row of locks: {told}");
    pass(900 + 3600).await;
    let told = locked_for().await;
    assert!((450..=900).contains(&told), "and so does an hour after the last: {told}");
}

/// The functions of the third migration, as the version before calls them.
struct OldReplica {
    db: Arc<TestDatabase>,
    subjects: Vec<Vec<u8>>,
    source: Vec<u8>,
}

const OLD_RULES: &str = "(10,100,10000,250 ms,900000 ms,3600000 ms,2592000000 ms,60000 ms)";

impl OldReplica {
    /// Knows the keyed hashes of the accounts that `app` has counted failures of.
    async fn beside(app: &TestApp) -> Self {
        let sql = "SELECT subject, source FROM login_attempts WHERE source <> '' ORDER BY subject";
        let rows = app.db.rows(sql, &[]).await;
        let subjects = rows.iter().map(|row| row.get(0)).collect();
        Self { db: Arc::clone(&app.db), subjects, source: rows[0].get(1) }
    }

    /// Asks for a place for each account: those it got, and whether all are locked.
    async fn reserve(&self) -> (Vec<(Vec<u8>, OffsetDateTime, bool)>, bool) {
        let sql = format!(
            "SELECT asked.subject, r.lease, r.known, r.verdict = 'locked'
             FROM unnest($1::bytea[]) WITH ORDINALITY AS asked (subject, place),
                 LATERAL login_reserve(asked.subject, $2, 1, '{OLD_RULES}'::login_rules) AS r ORDER BY asked.place"
        );
        let rows = self.db.rows(&sql, &[&self.subjects, &self.source]).await;
        let granted = rows.iter().filter_map(|row| Some((row.get(0), row.get::<_, Option<_>>(1)?, row.get(2))));
        (granted.collect(), rows.iter().all(|row| row.get(3)))
    }

    /// Counts a failure for each place.
    async fn fail(&self, places: &[(Vec<u8>, OffsetDateTime, bool)]) {
        let subjects: Vec<_> = places.iter().map(|place| &place.0).collect();
        let sources: Vec<_> = places.iter().map(|_| &self.source).collect();
        let leases: Vec<_> = places.iter().map(|place| place.1).collect();
        let known: Vec<_> = places.iter().map(|place| place.2).collect();
        let (failed, none) = (vec!["failed"; places.len()], vec![None::<String>; places.len()]);
        let users = vec![None::<uuid::Uuid>; places.len()];
        let sql = format!("SELECT login_resolve($1, $2, $3, $4, $5, $6, $7, $8, '{OLD_RULES}'::login_rules)");
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
            [&subjects, &sources, &leases, &known, &failed, &users, &none, &none];
        self.db.rows(&sql, &parameters).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_replica_of_the_version_before_exactly_10_wrong_passwords_are_checked() {
    let app = TestApp::with(&[PATIENT, SWIFT]).await;
    app.register_john().await;
    for email in [EMAIL, OTHER] {
        wrong(&app, email).await.expect_refusal(401, "invalid_credentials");
    }
    let old = OldReplica::beside(&app).await;
    // Both make the rows, too.
    app.db.run("DELETE FROM login_attempts").await;
    let attempts = join_all((0..8).map(|n| {
        let (app, email) = (&app, if n % 2 == 0 { EMAIL } else { OTHER });
        async move {
            let mut checked = 0;
            loop {
                let answer = wrong(app, email).await;
                if answer.status != 401 {
                    answer.expect_refusal(429, "too_many_attempts");
                    break checked;
                }
                checked += 1;
            }
        }
    }));
    let failing = async {
        let mut checked = 0;
        loop {
            let (places, are_locked) = old.reserve().await;
            if are_locked {
                break checked;
            }
            old.fail(&places).await;
            checked += places.len();
        }
    };
    let (by_new, by_old) = soon("all answers", Box::pin(async { tokio::join!(attempts, failing) })).await;
    let by_new: usize = by_new.iter().sum();
    println!("{by_old} by the version before, {by_new} by this one");
    assert_eq!(by_new + by_old, 20);
    assert_eq!(leases(&app.db).await, 0);
}

#[tokio::test]
async fn a_replica_of_the_version_before_keeps_a_lock_that_is_longer() {
    let app = TestApp::with(&[SWIFT, ("limits.lock_after", "1")]).await;
    for seconds in [900, 1000] {
        wrong(&app, EMAIL).await.expect_refusal(401, "invalid_credentials");
        app.db.run(&format!("UPDATE login_attempts SET failed_at = failed_at - interval '{seconds} s'")).await;
    }
    let sql =
        "SELECT login_reserve(subject, source, 1, '(1,100,10000,250 ms,900 s,3600 s,30 days,60 s)'::login_rules)::text
        FROM login_attempts WHERE source <> ''";
    let told: String = app.db.value(sql, &[]).await;
    assert!(told.starts_with("(0,") && told.contains("locked"), "{told}");
}

#[tokio::test]
async fn strangers_at_a_locked_account_cost_no_statement_and_known_networks_get_in() {
    let proxies = ("server.trusted_proxies", "127.0.0.1");
    let limits = [proxies, SWIFT, ("limits.account_lock_after", "3"), ("limits.login_per_minute", "0")];
    let first = TestApp::with(&limits).await;
    first.register_john().await;
    let login = async |app: &TestApp, network: usize, password: &str| {
        let body = json!({"email": EMAIL, "password": password}).to_string();
        let request = app.request("POST", "/api/users/login").header("content-type", "application/json");
        app.send(request.header("x-forwarded-for", format!("2001:db8:{network:x}::1")).body(body.into()).unwrap()).await
    };
    login(&first, 1, PASSWORD).await.expect_json(200);
    // Another replica has not seen who is known.
    let app = TestApp::on(Arc::clone(&first.db), &limits).await;
    for network in 2..5 {
        login(&app, network, "WrongPass123").await.expect_refusal(401, "invalid_credentials");
    }
    let admin = app.admin();
    let statements = async || sample(&admin, "rollcall_db_batch_size_count{statement=\"reserve_attempts\"}").await;
    let (before, started) = (statements().await, Instant::now());
    for network in 10..210 {
        let refused = login(&app, network, PASSWORD).await;
        refused.expect_refusal(429, "too_many_attempts");
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=900).contains(&seconds), "{seconds}");
    }
    let asked = statements().await - before;
    let seconds = started.elapsed().as_secs();
    // An answer is good for a second. Strangers who come before it is remembered ask as well: a few, not all 200.
    assert!((1..=4 * (1 + seconds)).contains(&asked), "{asked} statements in {seconds} s");
    assert_eq!(sample(&admin, "rollcall_attempts_refused_total{reason=\"locked\"}").await, 200);
    login(&app, 1, PASSWORD).await.expect_json(200);
    login(&app, 1, "WrongPass123").await.expect_refusal(401, "invalid_credentials");
    app.db.run("UPDATE login_attempts SET failures = 0 WHERE source = ''").await;
    until("the database is asked again", async || login(&app, 300, PASSWORD).await.status == 200).await;
}

async fn transactions_left(db: &TestDatabase) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND state LIKE 'idle in transaction%' AND pid <> pg_backend_pid()";
    db.value(sql, &[]).await
}

#[tokio::test]
async fn a_login_that_waits_too_long_for_a_counter_leaves_no_transaction() {
    let app = TestApp::with(&[SWIFT, ("database.timeout_ms", "2000"), ("database.pool_size", "1")]).await;
    app.register_john().await;
    wrong(&app, EMAIL).await.expect_refusal(401, "invalid_credentials");
    app.db.run("BEGIN; SELECT FROM login_attempts FOR UPDATE").await;
    wrong(&app, EMAIL).await.expect_refusal(503, "unavailable");
    app.db.run("ROLLBACK").await;
    until("no transaction", async || transactions_left(&app.db).await == 0).await;
    app.token().await;
    assert_eq!(leases(&app.db).await, 0);
}

#[tokio::test]
async fn a_value_that_the_database_refuses_ends_the_transaction_and_not_the_connection() {
    for mode in ["named", "unnamed"] {
        let app = TestApp::with(&[SWIFT, ("database.pool_size", "1"), ("database.statement_mode", mode)]).await;
        app.register_john().await;
        let pids = async || -> Vec<i32> {
            let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                ORDER BY pid";
            app.db.rows(sql, &[]).await.iter().map(|row| row.get(0)).collect()
        };
        let before = pids().await;
        // In the first statement of a transaction, and in its last.
        for (table, check) in [("login_attempts", "source <> ''"), ("audit_events", "kind <> 'login_failed'")] {
            app.db.run(&format!("ALTER TABLE {table} ADD CONSTRAINT refusing CHECK ({check}) NOT VALID")).await;
            wrong(&app, EMAIL).await.expect_refusal(503, "unavailable");
            assert_eq!(transactions_left(&app.db).await, 0);
            app.db.run(&format!("ALTER TABLE {table} DROP CONSTRAINT refusing")).await;
            app.token().await;
        }
        assert_eq!(pids().await, before);
        wrong(&app, EMAIL).await.expect_refusal(401, "invalid_credentials");
    }
}
