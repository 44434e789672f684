//! Private keys in the database, and the key that they are encrypted under.

use serde_json::{Value, json};

use super::{ANOTHER_ENCRYPTION_KEY, ENCRYPTION_KEY, Operator, kid, signs};
use crate::harness::{EMAIL, Home, PASSWORD, TestApp, until};

const VARIABLE: &str = "ROLLCALL__TOKENS__ENCRYPTION_KEY";
const UNUSABLE: &str = "rollcall_signing_keys_unusable";

#[tokio::test]
async fn private_keys_are_stored_encrypted_and_removed_with_their_use() {
    let operator = Operator::new().await;
    let kids = [operator.add_active("eddsa").await, operator.add("es256").await];
    for kid in &kids {
        let private = operator.private(kid).await;
        let sql = "SELECT private_key FROM signing_keys WHERE kid = $1";
        let stored: Vec<u8> = operator.db.value(sql, &[kid]).await;
        let plain = private.as_bytes();
        assert_eq!(stored.len(), 12 + plain.len() + 16, "nonce, text and tag");
        assert!(plain.windows(8).all(|part| !stored.windows(8).any(|found| found == part)));
    }
    operator.rotate().await;
    let left = "SELECT count(*) FROM signing_keys WHERE private_key IS NOT NULL";
    assert_eq!(operator.db.value::<i64>(left, &[]).await, 3, "the old ones sign until the new one does");
    operator.let_time_pass().await;
    let last = operator.rotate().await;
    assert_eq!(operator.db.value::<i64>(left, &[]).await, 2);
    operator.json(&["retire", &last, "--revoke"]).await;
    assert_eq!(operator.db.value::<i64>(left, &[]).await, 1);
}

#[tokio::test]
async fn a_malformed_encryption_key_is_refused() {
    let (home, operator) = (Home::new(), Operator::new().await);
    for bad in ["secret", &ENCRYPTION_KEY[2..], &format!("{ENCRYPTION_KEY}00"), &ENCRYPTION_KEY.replace('f', "g")] {
        for args in [&["serve"][..], &["check"], &["keys", "list"]] {
            let exit = home.program(args).env("DATABASE_URL", &operator.db.url()).env(VARIABLE, bad).run().await;
            exit.expect_failure(&["tokens.encryption_key", VARIABLE, "32 bytes", "openssl rand -hex 32"]);
            assert!(!exit.stderr.contains(bad), "{}", exit.stderr);
        }
    }
}

#[tokio::test]
async fn a_start_with_the_wrong_encryption_key_or_none_is_refused() {
    let (home, operator) = (Home::new(), Operator::new().await);
    operator.add("eddsa").await;
    let wrong = home.serve_on(&operator.db).env(VARIABLE, ANOTHER_ENCRYPTION_KEY).run().await;
    wrong.expect_failure(&["tokens.encryption_key opens none", VARIABLE, "rollcall keys retire"]);
    let none = home.serve_on(&operator.db).run().await;
    none.expect_failure(&["tokens.encryption_key is not set", VARIABLE]);
    let check = home.serve_on(&operator.db).env(VARIABLE, ANOTHER_ENCRYPTION_KEY).arg("check").run().await;
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.stderr.contains("rollcall: tokens.encryption_key opens none"), "{check:?}");
    operator.db.run("UPDATE signing_keys SET retired_at = now(), expires_at = now() + interval '1 day'").await;
    home.serve_on(&operator.db).ready().await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_another_encryption_key_goes_on_with_what_it_can_read() {
    let operator = Operator::new().await;
    let old = operator.add_active("eddsa").await;
    let app = operator.replica().await;
    app.register_john().await;
    assert_eq!(kid(&app.token().await), old.as_str());
    // The operator has moved on to another key, this replica has not.
    let rotate = operator.keys(&["rotate", "--json"]).env(VARIABLE, ANOTHER_ENCRYPTION_KEY).run().await;
    let told: Value = serde_json::from_str(&rotate.stdout).unwrap();
    let new = told["keys"].as_array().unwrap().last().unwrap()["kid"].as_str().unwrap().to_owned();
    until("a key that can't be used", async || crate::metrics::sample(&app.admin(), UNUSABLE).await == 1).await;
    assert_eq!(kid(&app.token().await), old.as_str());
    let moved = operator.replica_with(&[("tokens.encryption_key", ANOTHER_ENCRYPTION_KEY)]).await;
    operator.let_time_pass().await;
    signs(&moved, &new).await;
    let token = moved.token().await;
    app.me(&token).await.expect_json(200);
    // It signs with what is left to it, and the others accept that.
    until("the secret", async || kid(&app.token().await) == Value::Null).await;
    moved.me(&app.token().await).await.expect_json(200);
    until("a retired key", async || crate::metrics::sample(&moved.admin(), UNUSABLE).await == 0).await;
}

#[tokio::test]
async fn keys_that_come_to_a_replica_without_an_encryption_key_are_verified_with() {
    let operator = Operator::new().await;
    let bare = TestApp::on(operator.db.clone(), &[]).await;
    bare.register_john().await;
    let added = operator.add_active("es256").await;
    let app = operator.replica().await;
    signs(&app, &added).await;
    let token = app.token().await;
    until("the key", async || bare.me(&token).await.status == 200).await;
    assert_eq!(kid(&bare.token().await), Value::Null);
    assert_eq!(crate::metrics::sample(&bare.admin(), UNUSABLE).await, 1);
}

#[tokio::test]
async fn the_secret_can_be_switched_off() {
    let operator = Operator::new().await;
    let without = ("tokens.accept_secret", "false");
    let refused = TestApp::try_start(&operator.db, &[without]).await.unwrap_err().to_string();
    assert!(refused.contains("tokens.accept_secret") && refused.contains("rollcall keys add"), "{refused}");
    let lenient = operator.replica().await;
    lenient.register_john().await;
    let of_secret = lenient.token().await;
    let added = operator.add("eddsa").await;
    let strict = operator.replica_with(&[without]).await;
    strict.me(&of_secret).await.expect_refusal(401, "invalid_token");
    assert_eq!(kid(&strict.token().await), added.as_str(), "a published key is better than none");
    until("the key", async || lenient.me(&strict.token().await).await.status == 200).await;
    lenient.me(&of_secret).await.expect_json(200);
    operator.json(&["retire", &added, "--revoke"]).await;
    until("no key", async || strict.login(EMAIL, PASSWORD).await.status == 503).await;
    strict.login(EMAIL, PASSWORD).await.expect_refusal(503, "unavailable");
    let next = operator.add("es256").await;
    until("a key", async || strict.login(EMAIL, PASSWORD).await.status == 200).await;
    assert_eq!(kid(&strict.token().await), next.as_str());
}

#[tokio::test]
async fn check_names_the_signer_and_the_ring() {
    let operator = Operator::new().await;
    let check = async || {
        let start = operator.home.serve_on(&operator.db).env(VARIABLE, ENCRYPTION_KEY).arg("check");
        let exit = start.run().await;
        assert_eq!(exit.code, Some(0), "{exit:?}");
        exit.stdout.lines().find(|line| line.starts_with("keys: ")).unwrap().to_owned()
    };
    assert_eq!(check().await, "keys: good (tokens.secret signs; in the ring: tokens.secret)");
    let (active, added) = (operator.add_active("eddsa").await, operator.add("es256").await);
    let ring =
        format!("{active} signs; in the ring: tokens.secret, {active} (EdDSA, active), {added} (ES256, published)");
    assert_eq!(check().await, format!("keys: good ({ring})"));
    let secret = json!({"kid": null, "algorithm": "HS256", "state": "active", "signs": false});
    let told: Value = serde_json::from_str(&operator.run(&["list", "--json"]).await.stdout).unwrap();
    for (name, value) in secret.as_object().unwrap() {
        assert_eq!(&told["keys"][0][name], value, "{name}");
    }
}
