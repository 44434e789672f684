//! `rollcall keys`: what it prints, what it refuses, and what it leaves in the record of security events.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{ENCRYPTION_KEY, Operator};
use crate::harness::{Home, TestDatabase, join_all};

#[tokio::test]
async fn list_is_a_table_for_people_and_json_for_programs() {
    let operator = Operator::new().await;
    let kid = operator.add("eddsa").await;
    let exit = operator.run(&["list"]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let lines: Vec<Vec<_>> = exit.stdout.lines().map(|line| line.split("  ").collect()).collect();
    let words =
        |line: usize| lines[line].iter().map(|cell| cell.trim()).filter(|cell| !cell.is_empty()).collect::<Vec<_>>();
    assert_eq!(words(0), ["kid", "algorithm", "state", "signs", "active from", "retired at", "expires at"]);
    assert_eq!(words(1), ["tokens.secret", "HS256", "active", "yes", "-", "-", "-"]);
    assert_eq!(words(2)[..4], [kid.as_str(), "EdDSA", "published", "-"]);
    assert_eq!(lines.len(), 3);
    operator.let_time_pass().await;
    let keys = operator.json(&["list"]).await;
    let key = keys[0].as_object().unwrap();
    let names: Vec<_> = key.keys().map(String::as_str).collect();
    let known = ["activeFrom", "algorithm", "createdAt", "expiresAt", "kid", "retiredAt", "signs", "state"];
    assert_eq!(names, known);
    assert_eq!((&key["kid"], &key["signs"], &key["state"]), (&json!(kid), &json!(true), &json!("active")));
}

#[tokio::test]
async fn what_cannot_be_done_is_one_line_that_says_why() {
    let operator = Operator::new().await;
    operator.run(&["rotate"]).await.expect_failure(&["no key to rotate", "rollcall keys add"]);
    let bare = operator.keys(&["add", "--algorithm", "eddsa"]).without("ROLLCALL__TOKENS__ENCRYPTION_KEY").run().await;
    bare.expect_failure(&["tokens.encryption_key is not set", "openssl rand -hex 32"]);
    operator.run(&["retire", "nobody"]).await.expect_failure(&["no key nobody", "rollcall keys list"]);
    let kid = operator.add("eddsa").await;
    let strict = operator.keys(&["retire", &kid]).env("ROLLCALL__TOKENS__ACCEPT_SECRET", "false").run().await;
    strict.expect_failure(&[&kid, "tokens.accept_secret", "rollcall keys rotate"]);
    operator.json(&["retire", &kid]).await;
    operator.run(&["retire", &kid]).await.expect_failure(&[&kid, "retired already", "--revoke"]);
    operator.json(&["retire", &kid, "--revoke"]).await;
    operator.run(&["retire", &kid, "--revoke"]).await.expect_failure(&[&kid, "expired already"]);
    for usage in [&["add"][..], &["add", "--algorithm", "hs256"], &["add", "--algorithm", "rsa"], &["retire"], &[]] {
        assert_eq!(operator.run(usage).await.code, Some(2), "{usage:?}");
    }
    let events: i64 = operator.db.value("SELECT count(*) FROM audit_events", &[]).await;
    assert_eq!(events, 3, "what was refused did not happen");
}

#[tokio::test]
async fn an_old_schema_has_to_be_brought_up_to_date_first() {
    let db = Arc::new(TestDatabase::empty().await);
    let operator = Operator { home: Home::new(), db };
    operator.run(&["list"]).await.expect_failure(&["schema version 0", "rollcall migrate"]);
}

#[tokio::test]
async fn a_database_that_is_away_is_one_line() {
    let exit =
        Home::new().program(&["keys", "list"]).env("DATABASE_URL", "postgresql://a:b@127.0.0.1:1/none").run().await;
    exit.expect_failure(&["cannot use PostgreSQL at 127.0.0.1:1", "DATABASE_URL"]);
}

#[tokio::test]
async fn every_change_is_in_the_record_of_security_events() {
    let operator = Operator::new().await;
    let first = operator.add("eddsa").await;
    let second = operator.rotate().await;
    operator.json(&["retire", &second]).await;
    operator.json(&["retire", &second, "--revoke"]).await;
    let events = operator.db.rows("SELECT kind, detail::text FROM audit_events ORDER BY event_id", &[]).await;
    let events: Vec<(String, Value)> =
        events.iter().map(|row| (row.get(0), serde_json::from_str(row.get(1)).unwrap())).collect();
    let kinds: Vec<_> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["key_added", "key_rotated", "key_retired", "key_retired"]);
    let keys = operator.json(&["list"]).await;
    let detail = json!({"kid": first, "algorithm": "EdDSA", "activeFrom": keys[0]["activeFrom"]});
    assert_eq!(events[0].1, detail);
    let from = &keys[1]["activeFrom"];
    let detail = json!({"kid": second, "algorithm": "EdDSA", "activeFrom": from, "superseded": [first]});
    assert_eq!(events[1].1, detail);
    assert_eq!((&events[2].1["kid"], &events[2].1["revoked"]), (&json!(second), &json!(false)));
    let detail = json!({"kid": second, "revoked": true, "expiresAt": keys[1]["expiresAt"]});
    assert_eq!(events[3].1, detail);
}

#[tokio::test]
async fn a_change_without_its_event_does_not_happen() {
    let operator = Operator::new().await;
    let kid = operator.add("eddsa").await;
    let before = operator.json(&["list"]).await;
    operator.db.run("ALTER FUNCTION audit_append(TEXT, UUID, TEXT, TEXT, JSONB) RENAME TO gone").await;
    for args in [&["add", "--algorithm", "es256"][..], &["rotate"], &["retire", &kid], &["retire", &kid, "--revoke"]] {
        operator.run(args).await.expect_failure(&["cannot be read or changed", "audit_append"]);
    }
    assert_eq!(operator.json(&["list"]).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_rotations_at_once_each_supersedes_those_before() {
    let operator = Operator::new().await;
    operator.add("eddsa").await;
    join_all((0..4).map(|_| operator.rotate())).await;
    let keys = operator.json(&["list"]).await;
    assert_eq!(keys.len(), 5);
    assert_eq!(keys.iter().filter(|key| key["retiredAt"].is_null()).count(), 1, "{keys:?}");
}

#[tokio::test]
async fn keys_can_be_added_beside_a_service_with_a_private_cluster() {
    let home = Home::new();
    let service = home.serve().env("ROLLCALL__TOKENS__ENCRYPTION_KEY", ENCRYPTION_KEY).ready().await;
    let add = home.program(&["keys", "add", "--algorithm", "es256"]);
    let add = add.env("ROLLCALL__DATA_DIR", home.data().to_str().unwrap());
    let exit = add.env("ROLLCALL__TOKENS__ENCRYPTION_KEY", ENCRYPTION_KEY).run().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    crate::harness::until("the key", async || {
        service.get(super::JWKS).await.json()["keys"].as_array().is_some_and(|keys| keys.len() == 1)
    })
    .await;
    service.stop().await;
}
