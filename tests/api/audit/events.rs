//! What events tell, and that they are there exactly if their change is.

use std::sync::atomic::{AtomicUsize, Ordering};

use rollcall::crypto::pseudonym::{Disclosure, Pseudonyms};
use rollcall::domain::network::Network;
use rollcall::features::accounts::types::email::Email;
use rollcall::hashing::PasswordHash;
use rollcall::http::service::Record;

use crate::audit::{app, events, sealed, verdict};
use crate::harness::{EMAIL, PASSWORD, SECRET, TestApp, TestDatabase, join_all, soon, until};

fn network() -> Network {
    Network::of("127.0.0.1".parse().unwrap())
}

/// What the service's events say of the usual address, and of where the tests come from.
fn pseudonyms(disclosure: Disclosure) -> (Option<String>, Option<String>) {
    let pseudonyms = Pseudonyms::new(SECRET.as_bytes(), disclosure, disclosure);
    (pseudonyms.email(EMAIL), pseudonyms.network(network()))
}

/// John's hash, replaced by one of a lower cost than the service's.
async fn outdate(db: &TestDatabase) {
    let hash = bcrypt(4);
    db.execute("UPDATE users SET password_hash = $1 WHERE email = $2", &[&hash, &EMAIL]).await;
}

fn bcrypt(cost: u32) -> String {
    bcrypt::hash(PASSWORD, cost).unwrap()
}

async fn events_under(setting: &str, disclosure: Disclosure) {
    let keys = [("audit.emails", setting), ("audit.addresses", setting), ("hashing.cost", "5")];
    let app = TestApp::with(&keys).await;
    let id = app.register_john().await["userId"].as_str().unwrap().to_owned();
    outdate(&app.db).await;
    app.token().await;
    until("an upgrade", async || events(&app.db).await.iter().any(|event| event.0 == "hash_upgraded")).await;
    app.app.handles().audit.limit_hit("login", network());
    app.app.handles().audit.limit_hit("login", network());
    app.app.handles().audit.flush().await;
    let (email, source) = pseudonyms(disclosure);
    let told = events(&app.db).await;
    let of_kind = |kind: &str| told.iter().filter(|event| event.0 == kind).cloned().collect::<Vec<_>>();
    for kind in ["registered", "hash_upgraded"] {
        let expected = (kind.to_owned(), Some(id.clone()), email.clone(), source.clone(), "{}".to_owned());
        assert_eq!(of_kind(kind), [expected], "{setting}");
    }
    let hits = of_kind("limit_hit");
    assert_eq!(hits.len(), 1, "{hits:?}");
    assert_eq!((&hits[0].1, &hits[0].2, &hits[0].3), (&None, &None, &source));
    let detail: serde_json::Value = serde_json::from_str(&hits[0].4).unwrap();
    assert_eq!((&detail["class"], &detail["count"]), (&"login".into(), &2.into()));
    let count = i64::try_from(told.len()).unwrap();
    sealed(&app.db, count).await;
    assert_eq!(verdict(&app.db).await, Ok(count));
}

#[tokio::test]
async fn events_tell_addresses_as_they_are_where_that_is_chosen() {
    events_under("plain", Disclosure::Plain).await;
}

#[tokio::test]
async fn events_tell_keyed_hashes_of_addresses_by_default() {
    assert_ne!(pseudonyms(Disclosure::Hashed), pseudonyms(Disclosure::Plain));
    events_under("hashed", Disclosure::Hashed).await;
}

#[tokio::test]
async fn events_tell_nothing_of_addresses_where_that_is_chosen() {
    assert_eq!(pseudonyms(Disclosure::Nothing), (None, None));
    events_under("none", Disclosure::Nothing).await;
}

#[tokio::test]
async fn statements_without_names_write_the_same_events() {
    let app = TestApp::with(&[("database.statement_mode", "unnamed"), ("hashing.cost", "5")]).await;
    app.register_john().await;
    app.register_email(EMAIL).await.expect_refusal(409, "email_taken");
    outdate(&app.db).await;
    app.token().await;
    until("an upgrade", async || events(&app.db).await.iter().any(|event| event.0 == "hash_upgraded")).await;
    let kinds: Vec<_> = events(&app.db).await.into_iter().map(|event| event.0).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "registered").count(), 1, "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_users_that_are_stored_have_an_event() {
    let app = app().await;
    let emails = (0..40).map(|n| format!("user{}@example.com", n % 10));
    let answers = join_all(emails.map(|email| {
        let app = &app;
        async move { app.register_email(&email).await }
    }));
    let answers = soon("all answers", answers).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 10);
    assert_eq!(answers.iter().filter(|answer| answer.status == 409).count(), 30);
    app.register_email("no address").await.expect_refusal(422, "validation_failed");
    sealed(&app.db, 10).await;
    assert_eq!(without_their_counterpart(&app.db).await, 0);
}

/// Users without an event and events without a user.
async fn without_their_counterpart(db: &TestDatabase) -> i64 {
    let sql = "SELECT count(*) FROM users u FULL JOIN (SELECT * FROM audit_events WHERE kind = 'registered') e
               USING (user_id) WHERE u.email IS NULL OR e.kind IS NULL";
    db.value(sql, &[]).await
}

#[tokio::test]
async fn a_hash_that_is_not_replaced_leaves_no_event() {
    let app = app().await;
    app.register_john().await;
    let users = &app.app.handles().users;
    let mut account = users.find_by_email(Email::parse(EMAIL).unwrap()).await.unwrap().unwrap();
    let stored = account.password_hash.clone();
    account.password_hash.0 = bcrypt(4);
    users.replace_hash(account.clone(), stored.clone(), network()).await.unwrap();
    assert_eq!(events(&app.db).await.len(), 1, "the registration alone");
    account.password_hash = stored;
    users.replace_hash(account, PasswordHash(bcrypt(4)), network()).await.unwrap();
    assert_eq!(events(&app.db).await.len(), 2);
}

#[tokio::test]
async fn an_event_that_cannot_be_written_takes_its_change_back() {
    let app = app().await;
    app.db.run("ALTER TABLE audit_events ADD CONSTRAINT no_more CHECK (kind <> 'registered') NOT VALID").await;
    app.register_email(EMAIL).await.expect_refusal(503, "unavailable");
    assert_eq!((app.db.users().await, events(&app.db).await.len()), (0, 0));
    app.db.run("ALTER TABLE audit_events DROP CONSTRAINT no_more").await;
    app.register_john().await;
    sealed(&app.db, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_breaks_off_leaves_both_user_and_event_or_neither() {
    let app = app().await;
    let mut stored = 0;
    for round in 0..5 {
        let registrations = (0..40).map(|n| {
            let app = &app;
            async move { app.register_email(&format!("user{round}.{n}@example.com")).await }
        });
        let (answers, ()) = tokio::join!(join_all(registrations), async {
            let some = stored + 5;
            until("some users", async || app.db.users().await >= some).await;
            app.db.interrupt().await;
        });
        assert!(answers.iter().all(|answer| [201, 503].contains(&answer.status.as_u16())));
        stored = app.db.users().await;
    }
    assert_eq!(without_their_counterpart(&app.db).await, 0);
    // Until the pool has found its last broken connection, a registration may still meet it.
    let tries = AtomicUsize::new(0);
    let register = async || {
        let number = tries.fetch_add(1, Ordering::Relaxed);
        app.register_email(&format!("after{number}@example.com")).await.status == 201
    };
    until("a registration after the outage", register).await;
    stored = app.db.users().await;
    sealed(&app.db, stored).await;
    assert_eq!(verdict(&app.db).await, Ok(stored));
}

#[tokio::test]
async fn refusals_by_a_limit_become_one_event_a_window_and_a_service_that_stops_writes_the_last() {
    let app = TestApp::with(&[("audit.seal_ms", "5"), ("audit.limit_window_ms", "20")]).await;
    let audit = &app.app.handles().audit;
    for _ in 0..1_000 {
        audit.limit_hit("login", network());
    }
    let hits = async || {
        let sql = "SELECT coalesce(sum((detail->>'count')::int), 0)::bigint FROM audit_events WHERE kind = 'limit_hit'";
        app.db.value::<i64>(sql, &[]).await
    };
    until("the window's event", async || hits().await == 1_000).await;
    let TestApp { app: service, db, .. } = TestApp::on(app.db.clone(), &[]).await;
    service.handles().audit.limit_hit("register", network());
    service.stop().await;
    let last = events(&db).await.into_iter().filter(|event| event.4.contains("register")).count();
    assert_eq!(last, 1);
}
