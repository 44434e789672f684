//! A key's life: published, active, retired, expired; and that nobody is logged out by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;

use super::{Operator, header, kid, published, signs};
use crate::harness::{EMAIL, PASSWORD, until};

#[tokio::test]
async fn without_keys_tokens_are_those_of_the_python_service() {
    let operator = Operator::new().await;
    let app = operator.replica().await;
    app.register_john().await;
    assert_eq!(header(&app.token().await), r#"{"typ":"JWT","alg":"HS256"}"#);
    assert!(published(&app).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_added_key_is_known_everywhere_before_it_signs_anywhere() {
    for (name, alg) in [("eddsa", "EdDSA"), ("es256", "ES256")] {
        let operator = Operator::new().await;
        let (one, other) = (operator.replica().await, operator.replica().await);
        one.register_john().await;
        let before = one.token().await;
        let added = operator.add(name).await;
        for app in [&one, &other] {
            until("the key", async || published(app).await == [added.clone()]).await;
            assert_eq!(kid(&app.token().await), Value::Null, "published, but not active");
        }
        operator.let_time_pass().await;
        for app in [&one, &other] {
            signs(app, &added).await;
            let token = app.token().await;
            assert_eq!(header(&token), format!(r#"{{"typ":"JWT","alg":"{alg}","kid":"{added}"}}"#));
            for reader in [&one, &other] {
                // The second time from what the first has found.
                reader.me(&token).await.expect_json(200);
                reader.me(&token).await.expect_json(200);
                reader.me(&before).await.expect_json(200);
            }
        }
    }
}

#[tokio::test]
async fn a_published_key_verifies_already() {
    let operator = Operator::new().await;
    let app = operator.replica().await;
    let user = app.register_john().await;
    let added = operator.add("eddsa").await;
    let (header, private) = (format!(r#"{{"alg":"EdDSA","kid":"{added}"}}"#), operator.private(&added).await);
    let token = super::forge(&header, &super::claims(&user), jsonwebtoken::Algorithm::EdDSA, &private);
    until("the key", async || app.me(&token).await.status == 200).await;
}

#[tokio::test]
async fn the_newest_active_key_signs() {
    let operator = Operator::new().await;
    let app = operator.replica().await;
    app.register_john().await;
    let first = operator.add_active("eddsa").await;
    signs(&app, &first).await;
    let active = "rollcall_signing_keys{state=\"active\"}";
    assert_eq!(crate::metrics::sample(&app.admin(), active).await, 1);
    let second = operator.add_active("es256").await;
    signs(&app, &second).await;
    operator.json(&["retire", &second]).await;
    signs(&app, &first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_outlive_the_rotation_of_their_key_and_no_more() {
    let operator = Operator::new().await;
    let (one, other) = (operator.replica().await, operator.replica().await);
    one.register_john().await;
    let old = operator.add_active("es256").await;
    signs(&one, &old).await;
    let token = one.token().await;
    let new = operator.rotate().await;
    let keys = operator.json(&["list"]).await;
    assert_eq!(keys[1]["algorithm"], "ES256", "the old key's");
    assert_eq!(keys[0]["retiredAt"], keys[1]["activeFrom"], "it signs until the new one does");
    let lives: bool = operator
        .db
        .value("SELECT expires_at >= retired_at + interval '1 day' FROM signing_keys WHERE kid = $1", &[&old])
        .await;
    assert!(lives, "until its last token has expired");
    operator.let_time_pass().await;
    for app in [&one, &other] {
        signs(app, &new).await;
        app.me(&token).await.expect_json(200);
        assert_eq!(published(app).await, [old.clone(), new.clone()]);
    }
    operator.db.run(&format!("UPDATE signing_keys SET expires_at = now() WHERE kid = '{old}'")).await;
    for app in [&one, &other] {
        until("its end", async || published(app).await == [new.clone()]).await;
        app.me(&token).await.expect_refusal(401, "invalid_token");
        app.me(&app.token().await).await.expect_json(200);
    }
}

#[tokio::test]
async fn a_retired_key_signs_no_more_while_its_tokens_live_out_their_time() {
    let operator = Operator::new().await;
    let app = operator.replica().await;
    app.register_john().await;
    let added = operator.add_active("eddsa").await;
    signs(&app, &added).await;
    let token = app.token().await;
    let keys = operator.json(&["retire", &added]).await;
    assert_eq!((&keys[0]["state"], &keys[0]["signs"]), (&"retired".into(), &false.into()));
    until("the secret", async || kid(&app.token().await) == Value::Null).await;
    app.me(&token).await.expect_json(200);
    assert_eq!(published(&app).await, [added]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tokens_of_a_revoked_key_are_refused_everywhere_within_seconds() {
    for word in ["--revoke", "--now"] {
        let operator = Operator::new().await;
        let (one, other) = (operator.replica().await, operator.replica().await);
        one.register_john().await;
        let added = operator.add_active("eddsa").await;
        signs(&one, &added).await;
        let token = one.token().await;
        until("the key", async || other.me(&token).await.status == 200).await;
        let keys = operator.json(&["retire", &added, word]).await;
        assert_eq!(keys[0]["state"], "expired");
        for app in [&one, &other] {
            until("its end", async || app.me(&token).await.status == 401).await;
            until("its end", async || published(app).await.is_empty()).await;
            app.me(&app.token().await).await.expect_json(200);
        }
    }
}

#[tokio::test]
async fn the_ring_survives_its_actor_and_the_database() {
    let operator = Operator::new().await;
    let app = operator.replica_with(&[("database.timeout_ms", "2000")]).await;
    app.register_john().await;
    let added = operator.add_active("es256").await;
    signs(&app, &added).await;
    let token = app.token().await;
    let dying = app.app.handles().tokens.cell().unwrap();
    dying.kill();
    until("a successor", async || app.app.handles().tokens.cell().unwrap().get_id() != dying.get_id()).await;
    assert_eq!(kid(&app.token().await), added.as_str());
    app.me(&token).await.expect_json(200);
    operator.db.fail().await;
    let failures = "rollcall_signing_keys_read_failures_total";
    until("a read that fails", async || crate::metrics::sample(&app.admin(), failures).await > 0).await;
    assert_eq!(published(&app).await, [added]);
    app.me(&token).await.expect_refusal(503, "unavailable");
    app.me("a.b.c").await.expect_refusal(401, "invalid_token");
    operator.db.recover().await;
    until("the database", async || app.me(&token).await.status == 200).await;
    operator.add("eddsa").await;
    until("another key", async || published(&app).await.len() == 2).await;
}

/// By the real clock: nothing here is moved forward.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_logged_out_while_a_key_takes_over() {
    let operator = Operator::new().await;
    let replicas = Arc::new([operator.replica().await, operator.replica().await]);
    replicas[0].register_john().await;
    let old = operator.add_active("eddsa").await;
    signs(&replicas[0], &old).await;
    signs(&replicas[1], &old).await;
    let (seen, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: tokio::task::JoinSet<_> = (0..4)
        .map(|client| {
            let (replicas, seen, stop) = (Arc::clone(&replicas), Arc::clone(&seen), Arc::clone(&stop));
            async move {
                let (issuer, reader) = (&replicas[client % 2], &replicas[(client + 1) % 2]);
                let mut tokens = vec![issuer.token().await];
                while !stop.load(Ordering::Relaxed) {
                    let login = issuer.login(EMAIL, PASSWORD).await.expect_json(200);
                    let token = login["data"]["token"].as_str().unwrap().to_owned();
                    // At once at the other replica, as the oldest of all too.
                    reader.me(&token).await.expect_json(200);
                    reader.me(&tokens[0]).await.expect_json(200);
                    tokens.push(token);
                    seen.fetch_add(1, Ordering::Relaxed);
                }
                tokens
            }
        })
        .collect();
    let rotate = operator.keys(&["rotate", "--json"]).env("ROLLCALL__TOKENS__PUBLISH_S", "15").run().await;
    let told: Value = serde_json::from_str(&rotate.stdout).unwrap();
    let new = told["keys"].as_array().unwrap().last().unwrap()["kid"].as_str().unwrap().to_owned();
    assert_eq!(kid(&replicas[0].token().await), old.as_str(), "the new key is only published");
    for app in replicas.iter() {
        signs(app, &new).await;
    }
    let then = seen.load(Ordering::Relaxed);
    until("more logins", async || seen.load(Ordering::Relaxed) >= then + 20).await;
    stop.store(true, Ordering::Relaxed);
    let tokens = crate::harness::soon("the clients' ends", clients.join_all()).await.concat();
    let (of_old, of_new): (Vec<_>, Vec<_>) = tokens.iter().partition(|token| kid(token) == old.as_str());
    assert!(!of_old.is_empty() && !of_new.is_empty(), "{} and {}", of_old.len(), of_new.len());
    assert!(of_new.iter().all(|token| kid(token) == new.as_str()));
}
