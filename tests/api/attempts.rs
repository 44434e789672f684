//! How often somebody may try: exactly as often as the limits say, however many try at once, and no stranger in another's place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::metrics::sample;
use crate::harness::{Answer, Api, EMAIL, Home, PASSWORD, TestApp, TestDatabase, Wire, join_all, soon, until};

/// On a machine that is busy with other tests, waits may be long; what is tested here is not how long.
const PATIENT: (&str, &str) = ("hashing.max_wait_ms", "60000");
/// No pauses.
const SWIFT: (&str, &str) = ("limits.delay_after", "10000");

async fn wrong(api: &Api, n: usize) -> Answer {
    api.login(EMAIL, &format!("WrongPass{n}")).await
}

/// Checks that each was refused for its password or for being one too many; gives the number of the former.
#[track_caller]
fn checked(answers: &[Answer]) -> usize {
    let (checked, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 401);
    for answer in &checked {
        answer.expect_refusal(401, "invalid_credentials");
    }
    for answer in refused {
        answer.expect_refusal(429, "too_many_attempts");
    }
    checked.len()
}

async fn hashes(app: &TestApp) -> u64 {
    sample(&app.admin(), "rollcall_hash_duration_seconds_count").await
}

async fn failures(db: &TestDatabase) -> i64 {
    db.value("SELECT coalesce(sum(failures), 0) FROM login_attempts WHERE source <> ''", &[]).await
}

async fn leases(db: &TestDatabase) -> i64 {
    db.value("SELECT coalesce(sum(cardinality(leases)), 0)::bigint FROM login_attempts", &[]).await
}

/// Every event of a login, in order, as kind and whether it names the user.
async fn events(db: &TestDatabase) -> Vec<(String, bool)> {
    let sql = "SELECT kind, user_id IS NOT NULL FROM audit_events WHERE kind LIKE 'login_%' ORDER BY event_id";
    db.rows(sql, &[]).await.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_200_wrong_passwords_at_once_exactly_10_are_checked() {
    let app = TestApp::with(&[PATIENT]).await;
    app.register_john().await;
    let before = hashes(&app).await;
    let answers = soon("all answers", join_all((0..200).map(|n| wrong(&app, n)))).await;
    assert_eq!(checked(&answers), 10);
    assert_eq!(hashes(&app).await - before, 10, "what is refused costs no hash");
    let right = app.login(EMAIL, PASSWORD).await;
    right.expect_refusal(429, "too_many_attempts");
    let seconds: u64 = right.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=900).contains(&seconds), "{right:?}");
    assert_eq!(
        app.db.value::<i64>("SELECT count(*) FROM login_attempts", &[]).await,
        2,
        "refusals leave nothing behind"
    );
    assert_eq!(leases(&app.db).await, 0);
    let admin = app.admin();
    assert_eq!(sample(&admin, "rollcall_attempts_admitted_total").await, 10);
    assert_eq!(sample(&admin, "rollcall_attempts_refused_total{reason=\"locked\"}").await, 191);
    assert_eq!(sample(&admin, "rollcall_attempts_locks_total").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_200_valid_logins_at_once_all_succeed() {
    let app = TestApp::with(&[PATIENT]).await;
    app.register_john().await;
    for answer in soon("all answers", join_all((0..200).map(|_| app.login(EMAIL, PASSWORD)))).await {
        answer.expect_json(200);
    }
    assert_eq!((failures(&app.db).await, leases(&app.db).await), (0, 0));
    assert_eq!(sample(&app.admin(), "rollcall_attempts_admitted_total").await, 200, "each counts, hash shared or not");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_on_one_database_check_exactly_10_wrong_passwords_together() {
    let first = TestApp::with(&[PATIENT]).await;
    let second = TestApp::on(Arc::clone(&first.db), &[PATIENT]).await;
    first.register_john().await;
    let attempts = (0..200).map(|n| wrong(if n % 2 == 0 { &first } else { &second }, n));
    assert_eq!(checked(&soon("all answers", join_all(attempts)).await), 10);
    for app in [&first, &second] {
        app.login(EMAIL, PASSWORD).await.expect_refusal(429, "too_many_attempts");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_on_one_database_let_all_valid_logins_in() {
    let first = TestApp::with(&[PATIENT, ("limits.lock_after", "2")]).await;
    let second = TestApp::on(Arc::clone(&first.db), &[PATIENT, ("limits.lock_after", "2")]).await;
    first.register_john().await;
    let logins = (0..60).map(|n| if n % 2 == 0 { &first } else { &second }.login(EMAIL, PASSWORD));
    for answer in soon("all answers", join_all(logins)).await {
        answer.expect_json(200);
    }
    assert_eq!(leases(&first.db).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_valid_logins_no_more_wrong_ones_in_a_row_are_checked_than_the_limit_allows() {
    let app = TestApp::with(&[PATIENT, SWIFT, ("limits.lock_after", "4")]).await;
    app.register_john().await;
    let attempts = (0..120).map(|n| {
        let app = &app;
        async move { if n % 3 == 0 { app.login(EMAIL, PASSWORD).await } else { wrong(app, n).await } }
    });
    let answers = soon("all answers", join_all(attempts)).await;
    let succeeded = answers.iter().filter(|answer| answer.status == 200).count();
    let refused: Vec<_> = answers.into_iter().filter(|answer| answer.status != 200).collect();
    let failed = checked(&refused);
    let events = events(&app.db).await;
    let count = |kind: &str| events.iter().filter(|(found, _)| found == kind).count();
    assert_eq!((count("login_succeeded"), count("login_failed")), (succeeded, failed), "each is recorded once");
    for row in events.split(|(kind, _)| kind == "login_succeeded") {
        let failed = row.iter().filter(|(kind, _)| kind == "login_failed").count();
        assert!(failed <= 4, "{failed} in a row");
    }
    assert_eq!(leases(&app.db).await, 0);
}

#[tokio::test]
async fn a_success_clears_the_failures_before_it() {
    let app = TestApp::with(&[SWIFT, ("limits.lock_after", "3")]).await;
    app.register_john().await;
    for round in 0..3 {
        for n in 0..2 {
            wrong(&app, 10 * round + n).await.expect_refusal(401, "invalid_credentials");
        }
        app.login(EMAIL, PASSWORD).await.expect_json(200);
    }
}

#[tokio::test]
async fn failures_are_forgotten_after_a_while() {
    let app = TestApp::with(&[SWIFT, ("limits.lock_after", "2")]).await;
    for n in 0..5 {
        wrong(&app, n).await.expect_refusal(401, "invalid_credentials");
        app.db.run("UPDATE login_attempts SET failed_at = failed_at - interval '1 hour'").await;
    }
}

#[tokio::test]
async fn a_lock_ends_and_counting_starts_anew() {
    let app = TestApp::with(&[SWIFT, ("limits.lock_after", "2"), ("limits.lock_s", "1")]).await;
    app.register_john().await;
    for (round, lasting) in [(0, ["1", "1"]), (1, ["1", "2"])] {
        until("the end of the lock", async || wrong(&app, 10 * round).await.status == 401).await;
        wrong(&app, 10 * round + 1).await.expect_refusal(401, "invalid_credentials");
        let locked = app.login(EMAIL, PASSWORD).await;
        // On a slow machine the second may be over.
        if locked.status != 200 {
            locked.expect_refusal(429, "too_many_attempts");
            let told = locked.header("retry-after").unwrap();
            assert!(lasting.contains(&told), "the second is twice as long: {told}");
        }
    }
    until("the end of the lock", async || app.login(EMAIL, PASSWORD).await.status == 200).await;
}

#[tokio::test]
async fn whether_there_is_an_account_cannot_be_told_from_any_refusal() {
    let app = TestApp::with(&[SWIFT, ("limits.lock_after", "3")]).await;
    app.register_john().await;
    let long = "Aa1".repeat(40);
    let logins = [
        (EMAIL, "WrongPass123"),
        ("John.Doe@Example.com", "WrongPass123"),
        ("nobody@example.com", "WrongPass123"),
        ("no address at all\0", "WrongPass123"),
        ("long@example.com", long.as_str()),
        ("empty@example.com", ""),
    ];
    let mut seen: Vec<Vec<Value>> = Vec::new();
    // The second names the first one's account.
    for (email, password) in logins.into_iter().enumerate().filter(|(n, _)| *n != 1).map(|(_, login)| login) {
        let mut answers = Vec::new();
        for _ in 0..5 {
            let Answer { status, mut headers, body } = app.login(email, password).await;
            assert_eq!(headers.remove("retry-after").is_some(), status == 429);
            headers.remove("x-request-id").unwrap();
            headers.remove("date").unwrap();
            // Counts the network's requests, whomever they are about.
            headers.remove("ratelimit").unwrap();
            let mut headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
            headers.sort_unstable();
            answers.push(json!([status.as_u16(), headers, String::from_utf8(body.to_vec()).unwrap()]));
        }
        seen.push(answers);
    }
    for answers in &seen {
        let statuses: Vec<_> = answers.iter().map(|answer| answer[0].as_u64().unwrap()).collect();
        assert_eq!(statuses, [401, 401, 401, 429, 429]);
        assert_eq!(answers, &seen[0]);
    }
    app.login(logins[1].0, PASSWORD).await.expect_refusal(429, "too_many_attempts");
    let stored = "SELECT count(*) FROM login_attempts a WHERE position('example' IN a::text) > 0";
    assert_eq!(app.db.value::<i64>(stored, &[]).await, 0, "no address can be read from the counters");
}

#[tokio::test]
async fn another_network_is_not_locked_by_this_ones_failures() {
    let app = TestApp::with(&[SWIFT, ("limits.lock_after", "3")]).await;
    app.register_john().await;
    for n in 0..3 {
        wrong(&app, n).await.expect_refusal(401, "invalid_credentials");
    }
    app.login(EMAIL, PASSWORD).await.expect_refusal(429, "too_many_attempts");
    Api::from_loopback(app.addr, 2).login(EMAIL, PASSWORD).await.expect_json(200);
    app.login(EMAIL, PASSWORD).await.expect_refusal(429, "too_many_attempts");
}

#[tokio::test]
async fn strangers_lock_an_account_to_strangers_alone() {
    let app = TestApp::with(&[SWIFT, PATIENT, ("limits.lock_after", "3"), ("limits.account_lock_after", "5")]).await;
    app.register_john().await;
    app.token().await;
    let mut answers = Vec::new();
    for last in 2..6 {
        let stranger = Api::from_loopback(app.addr, last);
        answers.extend(soon("all answers", join_all((0..4).map(|n| wrong(&stranger, n)))).await);
    }
    assert_eq!(checked(&answers), 5);
    Api::from_loopback(app.addr, 9).login(EMAIL, PASSWORD).await.expect_refusal(429, "too_many_attempts");
    app.login(EMAIL, PASSWORD).await.expect_json(200);
    // The known network is under its own lock all the same, and of its failures the strangers' count knows nothing.
    for n in 0..3 {
        wrong(&app, n).await.expect_refusal(401, "invalid_credentials");
    }
    app.login(EMAIL, PASSWORD).await.expect_refusal(429, "too_many_attempts");
    let account = "SELECT failures FROM login_attempts WHERE source = ''";
    assert_eq!(app.db.value::<i32>(account, &[]).await, 5);
    // What was known 30 days ago is known no longer.
    app.db.run("UPDATE login_attempts SET failures = 0, known_until = now() WHERE source <> ''").await;
    app.login(EMAIL, PASSWORD).await.expect_refusal(429, "too_many_attempts");
}

#[tokio::test]
async fn after_some_failures_the_next_attempt_has_to_pause() {
    let app = TestApp::with(&[PATIENT, ("limits.delay_after", "1")]).await;
    wrong(&app, 0).await.expect_refusal(401, "invalid_credentials");
    wrong(&app, 1).await.expect_refusal(401, "invalid_credentials");
    let between: bool = app
        .db
        .value(
            "SELECT max(happened_at) - min(happened_at) >= interval '250 ms' FROM audit_events
             WHERE kind = 'login_failed'",
            &[],
        )
        .await;
    assert!(between, "the second was checked a pause after the first");
    assert_eq!(sample(&app.admin(), "rollcall_attempts_waited_total").await, 1);
}

#[tokio::test]
async fn a_pause_that_is_too_long_to_wait_for_is_429_with_retry_after() {
    let app = TestApp::with(&[("limits.delay_after", "1")]).await;
    wrong(&app, 0).await.expect_refusal(401, "invalid_credentials");
    // The eighth pause is of 32 seconds.
    app.db.run("UPDATE login_attempts SET failures = 8 WHERE source <> ''").await;
    let refused = wrong(&app, 1).await;
    refused.expect_refusal(429, "too_many_attempts");
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((6..=32).contains(&seconds), "{seconds}");
    assert_eq!(sample(&app.admin(), "rollcall_attempts_refused_total{reason=\"paused\"}").await, 1);
    Api::from_loopback(app.addr, 2).login(EMAIL, "WrongPass2").await.expect_refusal(401, "invalid_credentials");
}

fn login_request(n: usize) -> String {
    let body = format!(r#"{{"email":"{EMAIL}","password":"WrongPass{n}"}}"#);
    let head = "POST /api/users/login HTTP/1.1\r\nhost: test\r\ncontent-type: application/json";
    format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_while_its_password_is_checked_is_counted() {
    // It takes longer than to see it, however slow the machine is: both are slow then.
    let app = TestApp::with(&[("hashing.cost", "14"), ("hashing.lanes", "1")]).await;
    let admin = app.admin();
    let mut wire = Wire::open(app.addr).await;
    wire.send(login_request(0)).await;
    until("a check", async || sample(&admin, "rollcall_hash_lanes_busy").await == 1).await;
    drop(wire);
    until("a failure", async || failures(&app.db).await == 1).await;
    assert_eq!(leases(&app.db).await, 0);
    assert_eq!(events(&app.db).await, [("login_failed".to_owned(), false)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_before_their_turn_are_not_counted() {
    // The first takes longer than it takes all to get their places, however slow the machine is: both are slow then.
    let app = TestApp::with(&[PATIENT, ("hashing.cost", "15"), ("hashing.lanes", "1")]).await;
    let admin = app.admin();
    let mut wires = Vec::new();
    for n in 0..6 {
        let mut wire = Wire::open(app.addr).await;
        wire.send(login_request(n)).await;
        wires.push(wire);
    }
    until("six places", async || {
        app.db.value::<i64>("SELECT coalesce(max(cardinality(leases)), 0)::bigint FROM login_attempts", &[]).await == 6
            && sample(&admin, "rollcall_hash_lanes_busy").await == 1
    })
    .await;
    drop(wires);
    until("six places given back", async || leases(&app.db).await == 0).await;
    let (counted, begun) = (failures(&app.db).await, hashes(&app).await);
    assert_eq!(u64::try_from(counted).unwrap(), begun, "only those that had begun");
    assert!(begun < 6, "{begun}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn password_checks_that_the_crowd_leaves_no_room_for_are_not_counted() {
    let app = TestApp::with(&[
        // The first is still at work when the last comes.
        ("hashing.cost", "14"),
        ("hashing.lanes", "1"),
        ("hashing.queue_max", "1"),
        ("limits.lock_after", "12"),
    ])
    .await;
    let answers = soon("all answers", join_all((0..12).map(|n| wrong(&app, n)))).await;
    let (failed, busy): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 401);
    assert!(!busy.is_empty());
    until("all places given back", async || leases(&app.db).await == 0).await;
    assert_eq!(usize::try_from(failures(&app.db).await).unwrap(), failed.len());
}

#[tokio::test]
async fn a_service_that_is_killed_leaves_places_that_expire() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let serve = |home: &Home, cost| {
        let serve = home.serve_on(&db).env("ROLLCALL__LIMITS__LOCK_AFTER", "1");
        serve.env("ROLLCALL__HASHING__COST", cost).env("ROLLCALL__HASHING__MAX_WAIT_MS", "200")
    };
    let service = serve(&home, "4").ready().await;
    service.register_john().await;
    service.stop().await;
    // A check that takes longer than it takes to kill the service.
    let service = serve(&home, "14").env("ROLLCALL__HASHING__LANES", "1").ready().await;
    let mut wire = Wire::open(service.addr).await;
    wire.send(login_request(0).replace("john.doe", "jane.doe")).await;
    until("a check", async || leases(&db).await == 2).await;
    service.kill().await;
    assert_eq!(leases(&db).await, 2);
    let service = serve(&home, "4").ready().await;
    service.login("jane.doe@example.com", PASSWORD).await.expect_refusal(429, "too_many_attempts");
    service.token().await;
    let bounded: bool = db
        .value("SELECT bool_and(lease < now() + interval '2 min') FROM login_attempts, unnest(leases) AS lease", &[])
        .await;
    assert!(bounded, "they expire by themselves");
    db.run("UPDATE login_attempts SET leases = array_replace(leases, leases[1], now())").await;
    service.login("jane.doe@example.com", PASSWORD).await.expect_refusal(401, "invalid_credentials");
}

#[tokio::test]
async fn old_counters_are_deleted_and_so_are_those_beyond_the_limit() {
    let db = Arc::new(TestDatabase::migrated().await);
    let insert = |from: u32, to: u32, failures: u32, expires: &str| {
        format!(
            "INSERT INTO login_attempts (subject, source, failures, expires_at)
             SELECT decode(lpad(to_hex(n), 64, '0'), 'hex'), '', {failures}, now() + interval '{expires}' + n * interval '1 ms'
             FROM generate_series({from}, {to}) n"
        )
    };
    db.run(&insert(1, 2_500, 3, "-1 hour")).await;
    db.run(&insert(3_001, 3_500, 0, "10 days")).await;
    db.run("UPDATE login_attempts SET known_until = expires_at WHERE failures = 0").await;
    db.run(&insert(4_001, 4_800, 1, "1 hour")).await;
    let app = TestApp::on(Arc::clone(&db), &[("limits.attempts_max", "1000")]).await;
    let count =
        async |rows: &str| -> i64 { db.value(&format!("SELECT count(*) FROM login_attempts WHERE {rows}"), &[]).await };
    until("what is left", async || count("true").await == 1_000).await;
    assert_eq!(count("failures = 3").await, 0, "old ones");
    assert_eq!(count("failures = 0").await, 500, "counters go before known networks");
    assert_eq!(
        count("failures = 1 AND subject > decode(lpad(to_hex(4300), 64, '0'), 'hex')").await,
        500,
        "those first that would be forgotten soonest"
    );
    until("the count", async || sample(&app.admin(), "rollcall_attempts_reaped_total").await == 2_800).await;
}

#[tokio::test]
async fn without_limits_nothing_is_counted_but_all_is_recorded() {
    let app = TestApp::with(&[("limits.enabled", "false")]).await;
    app.register_john().await;
    for n in 0..15 {
        wrong(&app, n).await.expect_refusal(401, "invalid_credentials");
    }
    app.token().await;
    assert_eq!(app.db.value::<i64>("SELECT count(*) FROM login_attempts", &[]).await, 0);
    let mut expected = vec![("login_failed".to_owned(), true); 15];
    expected.push(("login_succeeded".to_owned(), true));
    assert_eq!(events(&app.db).await, expected);
}

#[tokio::test]
async fn every_login_and_every_lock_is_recorded() {
    let app = TestApp::with(&[
        SWIFT,
        ("limits.lock_after", "2"),
        ("limits.account_lock_after", "3"),
        ("audit.emails", "plain"),
        ("audit.addresses", "plain"),
    ])
    .await;
    let user = app.register_john().await;
    let (here, there) = (Api::from_loopback(app.addr, 2), Api::from_loopback(app.addr, 3));
    app.token().await;
    app.login("Nobody\0@example.com", PASSWORD).await.expect_refusal(401, "invalid_credentials");
    wrong(&here, 0).await.expect_refusal(401, "invalid_credentials");
    wrong(&here, 1).await.expect_refusal(401, "invalid_credentials");
    wrong(&here, 2).await.expect_refusal(429, "too_many_attempts");
    wrong(&there, 3).await.expect_refusal(401, "invalid_credentials");
    let sql =
        "SELECT kind || ' ' || coalesce(user_id::text, '-') || ' ' || email || ' ' || source || ' ' || detail::text
        FROM audit_events WHERE kind LIKE 'login_%' ORDER BY event_id";
    let told: Vec<String> = app.db.rows(sql, &[]).await.iter().map(|row| row.get(0)).collect();
    let id = user["userId"].as_str().unwrap();
    assert_eq!(
        told,
        [
            format!("login_succeeded {id} {EMAIL} 127.0.0.1 {{}}"),
            "login_failed - nobody\u{fffd}@example.com 127.0.0.1 {}".to_owned(),
            format!("login_failed {id} {EMAIL} 127.0.0.2 {{}}"),
            format!("login_failed {id} {EMAIL} 127.0.0.2 {{}}"),
            format!("login_locked {id} {EMAIL} 127.0.0.2 {{\"of\": \"source\", \"seconds\": 900}}"),
            format!("login_failed {id} {EMAIL} 127.0.0.3 {{}}"),
            format!("login_locked {id} {EMAIL} 127.0.0.3 {{\"of\": \"account\", \"seconds\": 900}}"),
        ]
    );
}

#[tokio::test]
async fn a_login_that_cannot_be_recorded_is_not_let_in() {
    let app = TestApp::start().await;
    app.register_john().await;
    app.db.run("ALTER TABLE audit_events RENAME TO audit_events_elsewhere").await;
    app.login(EMAIL, PASSWORD).await.expect_refusal(503, "unavailable");
    wrong(&app, 0).await.expect_refusal(503, "unavailable");
    app.db.run("ALTER TABLE audit_events_elsewhere RENAME TO audit_events").await;
    app.token().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_are_counted_through_a_proxy_that_keeps_no_sessions() {
    let app = TestApp::with(&[PATIENT, ("database.statement_mode", "unnamed")]).await;
    app.register_john().await;
    app.token().await;
    assert_eq!(checked(&soon("all answers", join_all((0..40).map(|n| wrong(&app, n)))).await), 10);
}

/// As if somebody had tried to log in to a thousand accounts that there are not, and failed.
#[tokio::test]
async fn a_flood_of_counters_does_not_make_an_account_forget_its_networks() {
    let db = TestDatabase::migrated().await;
    let counter = "INSERT INTO login_attempts (subject, source, failures, failed_at, known_until, expires_at)";
    db.run(&format!(
        "{counter} SELECT sha256(n::text::bytea), 'n', 1, now(), '-infinity', now() + INTERVAL '1 hour'
         FROM generate_series(1, 1500) AS n"
    ))
    .await;
    for n in 1..=5 {
        db.run(&format!(
            "{counter} VALUES ('known', 'n{n}', 0, '-infinity', now() + INTERVAL '{n} days', now() + INTERVAL '{n} days')"
        ))
        .await;
    }
    let rows =
        async |filter: &str| db.value::<i64>(&format!("SELECT count(*) FROM login_attempts WHERE {filter}"), &[]).await;
    while db.value::<i32>("SELECT login_reap(100, 1000::bigint)", &[]).await > 0 {}
    assert_eq!((rows("TRUE").await, rows("subject = 'known'").await), (1000, 5));
    // With nothing else left to forget, the network that was not used for longest goes first.
    db.run("DELETE FROM login_attempts WHERE subject <> 'known'").await;
    assert_eq!(db.value::<i32>("SELECT login_reap(2, 3::bigint)", &[]).await, 2);
    assert_eq!(rows("subject = 'known' AND source IN ('n3', 'n4', 'n5')").await, 3);
    db.run("UPDATE login_attempts SET expires_at = now() - INTERVAL '1 second' WHERE source = 'n4'").await;
    assert_eq!(db.value::<i32>("SELECT login_reap(100, 1000::bigint)", &[]).await, 1);
    assert_eq!(rows("source = 'n4'").await, 0);
}

/// A stranger is asked of the database alone, since all of them lock the account's counter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_of_many_networks_do_not_keep_the_owner_waiting() {
    let proxies = ("server.trusted_proxies", "127.0.0.1");
    let app = TestApp::with(&[proxies, ("limits.account_lock_after", "10"), ("limits.login_per_minute", "0")]).await;
    app.register_john().await;
    let login = async |network: String, password: &str| {
        let body = json!({"email": EMAIL, "password": password}).to_string();
        let request = app.request("POST", "/api/users/login").header("content-type", "application/json");
        app.send(request.header("x-forwarded-for", network).body(body.into()).unwrap()).await
    };
    login("2001:db8:1::1".to_owned(), PASSWORD).await.expect_json(200);
    let strangers = 600;
    let locked = Notify::new();
    let stranger = async |n: u64| {
        let answer = login(format!("2001:db8:{:x}::1", n + 2), "WrongPass123").await;
        if answer.status == 429 {
            locked.notify_one();
        }
    };
    let owner = async {
        locked.notified().await;
        login("2001:db8:1::1".to_owned(), PASSWORD).await.expect_json(200);
        sample(&app.admin(), "rollcall_db_batch_size_count{statement=\"reserve_attempts\"}").await
    };
    let (_, before) = soon("all answers", async { tokio::join!(join_all((0..strangers).map(stranger)), owner) }).await;
    println!("{before} statements for {strangers} strangers before the owner was let in");
    assert!(before < strangers / 2, "the owner waited for {before} statements of {strangers} strangers");
}

/// A storm of logins fills the whole wait; a network that its account knows has its turn all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_storm_of_strangers_networks_that_are_known_get_in() {
    let settings = [
        ("server.trusted_proxies", "127.0.0.1"),
        // A storm fills these three seconds, and the one check before that of a known network takes a small part of them.
        ("hashing.cost", "9"),
        ("hashing.max_wait_ms", "3000"),
        SWIFT,
        ("limits.login_per_minute", "0"),
    ];
    let app = TestApp::with(&settings).await;
    app.register_john().await;
    let login = async |network: &str, email: &str| {
        let body = json!({"email": email, "password": PASSWORD}).to_string();
        let request = app.request("POST", "/api/users/login").header("content-type", "application/json");
        app.send(request.header("x-forwarded-for", network).body(body.into()).unwrap()).await
    };
    login("192.0.2.1", EMAIL).await.expect_json(200);
    let (is_over, checked) = (AtomicBool::new(false), Notify::new());
    // Who is refused comes back when a check has made room: without a pause, the clients would take the checks' cores.
    let storm = join_all((0..400_usize).map(async |n| {
        while !is_over.load(Ordering::Relaxed) {
            let answer = login(&format!("2001:db8:{n:x}::1"), &format!("nobody{n}@example.com")).await;
            if answer.status != 503 {
                checked.notify_one();
            } else if !is_over.load(Ordering::Relaxed) {
                checked.notified().await;
            }
        }
    }));
    let known = async {
        // Of an account that there is, the network would be known once it got in before the storm.
        let is_stormy = async || login("192.0.2.2", "nobody@example.com").await.status == 503;
        until("a storm", is_stormy).await;
        for _ in 0..10 {
            login("192.0.2.1", EMAIL).await.expect_json(200);
        }
        until("a storm to the end", is_stormy).await;
        is_over.store(true, Ordering::Relaxed);
        checked.notify_waiters();
    };
    soon("both", Box::pin(async { tokio::join!(storm, known) })).await;
}
