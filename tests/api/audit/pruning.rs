//! What is removed from the log's start: by `rollcall audit prune`, which the log tells of, or by anybody else.

use rollcall::features::audit::chain::pruning;
use rollcall::features::audit::store::log::{Filter, Pruned};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use crate::audit::{app, app_with, log, sealed, tamper, verdict};
use crate::harness::TestDatabase;

const REMOVED: &str = "no sealed log_pruned event names the last of them: the start was removed";

/// Removes all that is sealed.
async fn prune(db: &TestDatabase) -> Pruned {
    // Whatever the clocks say: what the pruning itself adds must stay even so.
    log(db).await.prune(OffsetDateTime::now_utc() + Duration::hours(1)).await.unwrap()
}

/// Removes the events up to `place` as a pruning does it, and tells of nothing.
async fn cut_off(db: &TestDatabase, place: i64) {
    tamper(
        db,
        &format!(
            "UPDATE audit_chain SET start_sequence = {place},
                 start_hash = (SELECT hash FROM audit_events WHERE sequence = {place});
             DELETE FROM audit_events WHERE sequence <= {place}"
        ),
    )
    .await;
}

/// A log of five events, and nobody who would seal more.
async fn five_events() -> std::sync::Arc<TestDatabase> {
    let app = app_with(5).await;
    let db = app.db.clone();
    app.app.stop().await;
    db
}

#[tokio::test]
async fn a_pruning_is_told_of_in_the_log_at_once_and_the_log_holds() {
    let db = five_events().await;
    let pruned = prune(&db).await;
    assert_eq!((pruned.removed, pruned.start.sequence), (5, 5));
    let verified = log(&db).await.verify(None).await.unwrap();
    assert_eq!((verified.pruned_by, verified.unsealed), (Some(6), 0), "without a service that seals");
    let left = log(&db).await.page(&Filter::default(), 5, i64::MAX, 10).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(pruning::through(&left[0].event), Some(pruned.start));
    let detail: Value = serde_json::from_str(&left[0].event.detail).unwrap();
    assert_eq!((&detail["count"], &detail["through"]), (&5.into(), &pruned.start.to_string().into()));
}

#[tokio::test]
async fn an_event_that_is_dated_in_the_future_does_not_stop_prunings() {
    let app = app().await;
    let event = "INSERT INTO audit_events (kind, happened_at) VALUES ('login_failed', now()";
    app.db
        .run(&format!("{event} - INTERVAL '9 days'); {event} + INTERVAL '9 years'); {event} - INTERVAL '8 days')"))
        .await;
    app.db.run("INSERT INTO audit_events (kind) VALUES ('login_failed')").await;
    sealed(&app.db, 4).await;
    let pruned = log(&app.db).await.prune(OffsetDateTime::now_utc() - Duration::days(1)).await.unwrap();
    assert_eq!((pruned.removed, pruned.start.sequence), (3, 3));
    assert!(verdict(&app.db).await.is_ok());
}

#[tokio::test]
async fn a_pruning_that_removes_nothing_adds_nothing() {
    let db = five_events().await;
    let pruned = log(&db).await.prune(OffsetDateTime::now_utc() - Duration::days(1)).await.unwrap();
    assert_eq!((pruned.removed, pruned.start.sequence), (0, 0));
    assert_eq!(verdict(&db).await, Ok(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_log_is_pruned_in_batches_beside_a_service_that_seals_and_again_later() {
    let app = app().await;
    app.db.run("INSERT INTO audit_events (kind) SELECT 'login_failed' FROM generate_series(1, 12000)").await;
    sealed(&app.db, 12_000).await;
    app.db.run("INSERT INTO audit_events (kind) SELECT 'login_locked' FROM generate_series(1, 100)").await;
    let first = prune(&app.db).await;
    assert!(first.removed >= 12_000, "{first:?}");
    let told = "SELECT count(*) FROM audit_events WHERE kind = 'log_pruned'";
    assert_eq!(app.db.value::<i64>(told, &[]).await, 3, "one for each batch");
    assert!(verdict(&app.db).await.is_ok());
    app.register_john().await;
    let registered = "SELECT count(sequence) = 1 FROM audit_events WHERE kind = 'registered'";
    crate::harness::until("a seal", async || app.db.value(registered, &[]).await).await;
    let second = prune(&app.db).await;
    assert!(second.removed >= 4, "the events of the first pruning too: {second:?}");
    assert_eq!(app.db.value::<i64>(told, &[]).await, 1);
    assert!(verdict(&app.db).await.is_ok());
}

#[tokio::test]
async fn a_start_that_was_cut_off_by_hand_is_found() {
    for place in [1, 3, 5] {
        let db = five_events().await;
        cut_off(&db, place).await;
        let said = verdict(&db).await.unwrap_err();
        assert_eq!(said, format!("the audit log does not hold: the events up to {place} are gone, and {REMOVED}"));
    }
}

#[tokio::test]
async fn more_cut_off_than_was_pruned_is_found() {
    let app = app_with(5).await;
    prune(&app.db).await;
    for email in ["jane@example.com", "jim@example.com"] {
        app.register_email(email).await.expect_json(201);
    }
    sealed(&app.db, 3).await;
    assert_eq!(verdict(&app.db).await, Ok(3));
    cut_off(&app.db, 6).await;
    let said = verdict(&app.db).await.unwrap_err();
    assert!(said.contains("the events up to 6 are gone") && said.contains(REMOVED), "{said}");
}

#[tokio::test]
async fn an_event_of_a_pruning_counts_in_its_place_of_the_chain_only() {
    let db = five_events().await;
    let third = db.rows("SELECT '3:' || encode(hash, 'hex') FROM audit_events WHERE sequence = 3", &[]).await;
    let forged =
        format!(r#"'log_pruned', '{{"through": "{}", "count": 3, "before": ""}}'"#, third[0].get::<_, &str>(0));
    cut_off(&db, 3).await;
    tamper(&db, &format!("INSERT INTO audit_events (kind, detail) VALUES ({forged})")).await;
    let unsealed = verdict(&db).await.unwrap_err();
    assert!(unsealed.contains("the events up to 3 are gone") && unsealed.contains(REMOVED), "{unsealed}");
    tamper(
        &db,
        "UPDATE audit_events SET sequence = 6, hash = sha256('x') WHERE sequence IS NULL;
         UPDATE audit_chain SET head_sequence = 6, head_hash = sha256('x')",
    )
    .await;
    let hashed = verdict(&db).await.unwrap_err();
    assert_eq!(hashed, "the audit log does not hold: event 6 was changed, or the one before it");
    tamper(
        &db,
        &format!(
            "DELETE FROM audit_events WHERE sequence = 6;
             UPDATE audit_chain SET head_sequence = 5, head_hash = (SELECT hash FROM audit_events WHERE sequence = 5);
             UPDATE audit_events SET (kind, detail) = ROW({forged}::jsonb) WHERE sequence = 4"
        ),
    )
    .await;
    let changed = verdict(&db).await.unwrap_err();
    assert_eq!(changed, "the audit log does not hold: event 4 was changed, or the one before it");
}
