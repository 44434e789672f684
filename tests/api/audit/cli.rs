//! `rollcall audit`: what it prints, and how it exits.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;

use crate::audit::{app, app_with, lines, sealed, tamper};
use crate::harness::program::{Exit, Start};
use crate::harness::{Home, TestApp, TestDatabase};

fn audit(home: &Home, db: &TestDatabase, args: &[&str]) -> Start {
    let mut start = home.program(&["audit"]).env("DATABASE_URL", &db.url());
    for arg in args {
        start = start.arg(arg);
    }
    start
}

async fn run(db: &TestDatabase, args: &[&str]) -> Exit {
    audit(&Home::new(), db, args).run().await
}

/// Its standard output, where it succeeds and says nothing else.
async fn said(db: &TestDatabase, args: &[&str]) -> String {
    let exit = run(db, args).await;
    assert_eq!((exit.code, exit.stderr.as_str()), (Some(0), ""), "{exit:?}");
    exit.stdout
}

#[tokio::test]
async fn head_prints_what_verify_compares_with() {
    let app = app_with(3).await;
    let head = said(&app.db, &["head"]).await;
    let head = head.trim_end();
    assert!(head.starts_with("3:") && head.len() == 2 + 64, "{head}");
    assert_eq!(said(&app.db, &["verify"]).await, format!("audit log: good (sealed events: 3, head {head})\n"));
    app.register_email("jane@example.com").await.expect_json(201);
    sealed(&app.db, 4).await;
    let good = said(&app.db, &["verify", "--head", head]).await;
    assert!(good.contains("sealed events: 4") && good.contains("event 3 is the anchored one"), "{good}");
    let other = format!("3:{}", "0".repeat(64));
    run(&app.db, &["verify", "--head", &other]).await.expect_failure(&["event 3 is not the anchored one"]);
}

#[tokio::test]
async fn verify_counts_what_is_not_sealed_and_fails_with_the_first_break() {
    let app = app_with(3).await;
    let db = app.db.clone();
    app.app.stop().await;
    db.run("SELECT audit_append('key_added', NULL, NULL, NULL, NULL)").await;
    let good = said(&db, &["verify"]).await;
    assert!(good.contains("sealed events: 3") && good.contains("not sealed yet: 1"), "{good}");
    tamper(&db, "UPDATE audit_events SET email = 'x' WHERE sequence >= 2").await;
    run(&db, &["verify"]).await.expect_failure(&["the audit log does not hold", "event 2 was changed"]);
    run(&db, &["prune", "--before", "0s", "--yes"]).await.expect_failure(&["event 2 was changed"]);
}

#[tokio::test]
async fn wrong_usage_and_a_database_without_a_log_are_told_in_a_line() {
    let db = TestDatabase::empty().await;
    for args in [
        &["verify", "--head", "12"][..],
        &["list", "--since", "yesterday"],
        &["list", "--kind", "unknown"],
        &["list", "--user", "john"],
        &["prune"],
        &[],
    ] {
        assert_eq!(run(&db, args).await.code, Some(2), "{args:?}");
    }
    run(&db, &["verify"]).await.expect_failure(&["schema version 0", "rollcall migrate"]);
    let home = Home::new();
    let nowhere = home.program(&["audit", "head"]).env("DATABASE_URL", "postgresql://127.0.0.1:1/none");
    nowhere.run().await.expect_failure(&["cannot use PostgreSQL at 127.0.0.1:1"]);
}

#[tokio::test]
async fn list_prints_events_in_their_order_and_filters_them() {
    let app = TestApp::with(&[("audit.seal_ms", "5"), ("audit.emails", "plain"), ("audit.addresses", "none")]).await;
    let john = app.register_john().await;
    sealed(&app.db, 1).await;
    // What a client may send as an address, and a terminal would obey.
    app.db.run("SELECT audit_append('login_failed', NULL, E'\\x1b[2Jx', '192.0.2.1', '{\"a\": [1, \"b\"]}')").await;
    sealed(&app.db, 2).await;
    let all = said(&app.db, &["list", "--json"]).await;
    let all = lines(&all);
    assert_eq!(all.len(), 2);
    assert_eq!(all[0]["sequence"], 1);
    assert_eq!(all[0]["userId"], john["userId"]);
    assert_eq!(all[0]["email"], "john.doe@example.com");
    assert_eq!(all[1]["detail"], json!({"a": [1, "b"]}));
    assert_eq!(all[1]["source"], "192.0.2.1");
    assert_eq!(all[1]["hash"].as_str().unwrap().len(), 64);
    let text = said(&app.db, &["list", "--kind", "login_failed"]).await;
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("email=\\u{1b}[2Jx  source=192.0.2.1  {\"a\": [1, \"b\"]}"), "{text:?}");
    let of_john = said(&app.db, &["list", "--json", "--user", john["userId"].as_str().unwrap()]).await;
    assert_eq!(lines(&of_john), all[..1]);
    let recent = said(&app.db, &["list", "--json", "--since", "1d", "--kind", "registered"]).await;
    assert_eq!(lines(&recent), all[..1]);
    assert_eq!(said(&app.db, &["list", "--since", "2100-01-01"]).await, "");
}

#[tokio::test]
async fn list_pages_through_a_long_log() {
    let app = app().await;
    app.db.run("INSERT INTO audit_events (kind) SELECT 'login_failed' FROM generate_series(1, 2500)").await;
    sealed(&app.db, 2_500).await;
    let places: Vec<_> = lines(&said(&app.db, &["list", "--json"]).await)
        .iter()
        .map(|event| event["sequence"].as_i64().unwrap())
        .collect();
    assert_eq!(places, (1..=2_500).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follow_goes_on_with_new_events_through_an_outage_until_sigint() {
    let app = app_with(1).await;
    let home = Home::new();
    let mut follow = audit(&home, &app.db, &["list", "--follow", "--json"]).spawn();
    follow.printed("\"sequence\":1").await;
    app.register_email("jane@example.com").await.expect_json(201);
    follow.printed("\"sequence\":2").await;
    app.db.fail().await;
    follow.logged("cannot be read for now").await;
    app.db.recover().await;
    app.register_email("jim@example.com").await.expect_json(201);
    follow.printed("\"sequence\":3").await;
    follow.signal(Signal::INT);
    let exit = follow.exit().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert_eq!(lines(&exit.stdout).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follow_ends_well_when_nobody_reads_any_more() {
    let app = app_with(2).await;
    let home = Home::new();
    let mut follow = std::process::Command::new(env!("CARGO_BIN_EXE_rollcall"))
        .args(["audit", "list", "--follow"])
        .current_dir(home.path())
        .env_clear()
        .env("HOME", home.path())
        .env("DATABASE_URL", app.db.url())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    // The reader is dropped with the pipe's end, and no event comes after.
    BufReader::new(follow.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("registered"), "{first}");
    let exit = crate::harness::soon("its end", tokio::task::spawn_blocking(move || follow.wait_with_output())).await;
    let exit = exit.unwrap().unwrap();
    assert_eq!((exit.status.code(), String::from_utf8_lossy(&exit.stderr).as_ref()), (Some(0), ""));
}

#[tokio::test]
async fn a_pruned_log_holds_from_its_new_start() {
    let app = app_with(3).await;
    let old = said(&app.db, &["head"]).await;
    assert!(
        said(&app.db, &["prune", "--before", "1d", "--yes"])
            .await
            .starts_with("removed events: 0; the log starts after 0:")
    );
    let pruned = said(&app.db, &["prune", "--before", "0s", "--yes"]).await;
    assert_eq!(pruned, format!("removed events: 3; the log starts after {old}"));
    let told = lines(&said(&app.db, &["list", "--kind", "log_pruned", "--json"]).await);
    assert_eq!((told.len(), &told[0]["sequence"]), (1, &json!(4)));
    assert_eq!((&told[0]["detail"]["through"], &told[0]["detail"]["count"]), (&json!(old.trim_end()), &json!(3)));
    app.register_email("jane@example.com").await.expect_json(201);
    sealed(&app.db, 2).await;
    let good = said(&app.db, &["verify", "--head", old.trim_end()]).await;
    let remark = "those up to 3 were pruned, as event 4 tells";
    assert!(good.contains("sealed events: 2") && good.contains(remark), "{good}");
    let lost = format!("2:{}", "0".repeat(64));
    run(&app.db, &["verify", "--head", &lost]).await.expect_failure(&["event 2 was pruned", "after event 3"]);
    tamper(&app.db, "UPDATE audit_events SET kind = 'login_failed'").await;
    run(&app.db, &["verify"]).await.expect_failure(&["event 4 was changed"]);
}

#[tokio::test]
async fn nothing_is_pruned_without_a_yes() {
    let db = TestDatabase::migrated().await;
    run(&db, &["prune", "--before", "0s"]).await.expect_failure(&["nothing was done", "--yes"]);
}
