//! The sealer: in order, through crashes and outages, and one at a time.

use std::sync::Arc;

use crate::audit::{app, app_with, events, log, sealed, verdict};
use crate::harness::{TestApp, TestDatabase, join_all, soon, until};
use crate::metrics::sample;

#[tokio::test]
async fn an_event_is_sealed_by_itself_and_counted() {
    let app = app_with(3).await;
    let admin = app.admin();
    let name = "rollcall_audit_sealed_total{kind=\"registered\"}";
    until("the count", async || sample(&admin, name).await == 3).await;
    until("nothing waits", async || sample(&admin, "rollcall_audit_unsealed").await == 0).await;
    let text = admin.get("/metrics").await.text();
    for (name, kind) in [
        ("audit_sealed_total", "counter"),
        ("audit_unsealed", "gauge"),
        ("audit_lag_seconds", "gauge"),
        ("audit_failures_total", "counter"),
        ("audit_dropped_total", "counter"),
    ] {
        assert!(text.contains(&format!("# TYPE rollcall_{name} {kind}\n")), "{name} in {text}");
    }
    assert_eq!(verdict(&app.db).await, Ok(3));
}

#[tokio::test]
async fn an_empty_log_holds() {
    let db = TestDatabase::migrated().await;
    assert_eq!(verdict(&db).await, Ok(0));
    let zeros = "0".repeat(64);
    assert_eq!(log(&db).await.ends().await.unwrap().head.to_string(), format!("0:{zeros}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_under_load_seal_one_chain() {
    let one = app().await;
    let other = TestApp::on(Arc::clone(&one.db), &[("audit.seal_ms", "3")]).await;
    let registrations = (0..200).map(|n| {
        let app = if n % 2 == 0 { &one } else { &other };
        async move { app.register_email(&format!("user{n}@example.com")).await.expect_json(201) }
    });
    soon("all", join_all(registrations)).await;
    sealed(&one.db, 200).await;
    assert_eq!(verdict(&one.db).await, Ok(200));
    let name = "rollcall_audit_sealed_total{kind=\"registered\"}";
    let (one, other) = (one.admin(), other.admin());
    until("both counts", async || sample(&one, name).await + sample(&other, name).await == 200).await;
}

#[tokio::test]
async fn an_event_that_is_committed_late_is_sealed_late_and_not_skipped() {
    let app = app().await;
    let (slow, connection) =
        app.db.url().parse::<tokio_postgres::Config>().unwrap().connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    slow.batch_execute("BEGIN; SELECT audit_append('key_added', NULL, NULL, NULL, NULL)").await.unwrap();
    app.register_john().await;
    sealed(&app.db, 1).await;
    slow.batch_execute("COMMIT").await.unwrap();
    sealed(&app.db, 2).await;
    let kinds = app.db.rows("SELECT kind FROM audit_events ORDER BY sequence", &[]).await;
    let kinds: Vec<String> = kinds.iter().map(|row| row.get(0)).collect();
    assert_eq!(kinds, ["registered", "key_added"]);
    assert_eq!(events(&app.db).await[0].0, "key_added", "it was written first");
    assert_eq!(verdict(&app.db).await, Ok(2));
}

#[tokio::test]
async fn an_outage_is_survived_and_counted() {
    let app = TestApp::with(&[("audit.seal_ms", "5"), ("database.timeout_ms", "2000")]).await;
    let admin = app.admin();
    app.register_john().await;
    sealed(&app.db, 1).await;
    app.db.fail().await;
    until("failures", async || sample(&admin, "rollcall_audit_failures_total").await >= 3).await;
    app.db.recover().await;
    app.register_email("jane@example.com").await.expect_json(201);
    sealed(&app.db, 2).await;
    assert_eq!(verdict(&app.db).await, Ok(2));
    assert_eq!(sample(&admin, "rollcall_restarts_total{part=\"audit\"}").await, 0, "no crash");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_actor_that_dies_is_replaced_and_the_chain_goes_on() {
    let app = app().await;
    for round in 0..5 {
        for n in 0..10 {
            app.register_email(&format!("user{round}.{n}@example.com")).await.expect_json(201);
        }
        let dying = app.app.handles().audit.cell().unwrap();
        dying.kill();
        let successor = async || app.app.handles().audit.cell().is_some_and(|cell| cell.get_id() != dying.get_id());
        until("a successor", successor).await;
    }
    sealed(&app.db, 50).await;
    assert_eq!(verdict(&app.db).await, Ok(50));
    assert_eq!(sample(&app.admin(), "rollcall_restarts_total{part=\"audit\"}").await, 5);
}

#[tokio::test]
async fn a_replica_that_stops_with_the_head_in_its_hands_does_not_stop_the_rest_of_the_service() {
    let app = app_with(1).await;
    let (holder, connection) =
        app.db.url().parse::<tokio_postgres::Config>().unwrap().connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    holder.batch_execute("BEGIN; SELECT FROM audit_chain FOR UPDATE").await.unwrap();
    app.register_email("jane@example.com").await.expect_json(201);
    let admin = app.admin();
    until("a backlog", async || sample(&admin, "rollcall_audit_unsealed").await == 1).await;
    drop(holder);
    sealed(&app.db, 2).await;
}

#[tokio::test]
async fn a_round_that_was_given_up_on_leaves_no_statement_behind() {
    // In this mode, no time limit of the server's ends it.
    let mode = ("database.statement_mode", "unnamed");
    let app = TestApp::with(&[("audit.seal_ms", "5"), ("database.timeout_ms", "1000"), mode]).await;
    let (holder, connection) =
        app.db.url().parse::<tokio_postgres::Config>().unwrap().connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    holder.batch_execute("BEGIN; LOCK TABLE audit_events").await.unwrap();
    let admin = app.admin();
    until("failures", async || sample(&admin, "rollcall_audit_failures_total").await >= 5).await;
    let blocked = "SELECT count(*) <= 1 FROM pg_locks WHERE NOT granted AND relation = 'audit_events'::regclass
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until("the latest alone", async || app.db.value(blocked, &[]).await).await;
    holder.batch_execute("COMMIT").await.unwrap();
    app.register_john().await;
    sealed(&app.db, 1).await;
}

#[tokio::test]
async fn sealed_events_are_not_changed_by_mistake() {
    let app = app_with(2).await;
    let (client, connection) =
        app.db.url().parse::<tokio_postgres::Config>().unwrap().connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    for sql in [
        "UPDATE audit_events SET kind = 'login_failed'",
        "DELETE FROM audit_events WHERE sequence = 1",
        "TRUNCATE audit_events",
        "DELETE FROM audit_chain",
    ] {
        let error = client.batch_execute(sql).await.unwrap_err();
        let message = error.as_db_error().unwrap().message();
        assert!(message.starts_with("the audit log is append-only"), "{sql}: {message}");
    }
    assert_eq!(verdict(&app.db).await, Ok(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_events_are_sealed_in_batches_and_verified() {
    let app = app().await;
    app.db
        .run(
            "INSERT INTO audit_events (kind, user_id, email, source, detail)
             SELECT 'login_failed', gen_random_uuid(), md5(n::text), '192.0.2.1', jsonb_build_object('n', n)
             FROM generate_series(1, 100000) AS n",
        )
        .await;
    let admin = app.admin();
    let name = "rollcall_audit_sealed_total{kind=\"login_failed\"}";
    until("all sealed", async || sample(&admin, name).await == 100_000).await;
    assert_eq!(verdict(&app.db).await, Ok(100_000));
    app.register_john().await;
    sealed(&app.db, 100_001).await;
}
