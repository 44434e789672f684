//! The encryption key is changed: the previous one opens what `rollcall keys reseal` has yet to encrypt anew.

use serde_json::{Value, json};

use super::{ANOTHER_ENCRYPTION_KEY, ENCRYPTION_KEY, Operator, kid, signs};
use crate::harness::program::Exit;
use crate::harness::{Home, TestApp};

const VARIABLE: &str = "ROLLCALL__TOKENS__ENCRYPTION_KEY";
const PREVIOUS: &str = "ROLLCALL__TOKENS__PREVIOUS_ENCRYPTION_KEY";
/// What a replica has while the key is changed.
const BOTH: [(&str, &str); 2] =
    [("tokens.encryption_key", ANOTHER_ENCRYPTION_KEY), ("tokens.previous_encryption_key", ENCRYPTION_KEY)];
const NEW_ALONE: [(&str, &str); 1] = [("tokens.encryption_key", ANOTHER_ENCRYPTION_KEY)];

impl Operator {
    async fn reseal(&self, args: &[&str]) -> Exit {
        let keys = self.keys(&[&["reseal"], args].concat());
        keys.env(VARIABLE, ANOTHER_ENCRYPTION_KEY).env(PREVIOUS, ENCRYPTION_KEY).run().await
    }

    /// The names of the keys that it encrypted anew.
    async fn resealed(&self) -> Vec<String> {
        let exit = self.reseal(&["--json"]).await;
        assert_eq!(exit.code, Some(0), "{exit:?}");
        let told: Value = serde_json::from_str(&exit.stdout).unwrap();
        serde_json::from_value(told["resealed"].clone()).unwrap()
    }

    /// The private keys as they are stored.
    async fn stored(&self) -> Vec<Option<Vec<u8>>> {
        let rows = self.db.rows("SELECT private_key FROM signing_keys ORDER BY kid", &[]).await;
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn events(&self) -> Vec<Value> {
        let sql = "SELECT detail::text FROM audit_events WHERE kind = 'key_resealed' ORDER BY event_id";
        self.db.rows(sql, &[]).await.iter().map(|row| serde_json::from_str(row.get(0)).unwrap()).collect()
    }
}

/// Nobody signs with anything else meanwhile.
async fn all_sign(apps: &[&TestApp], wanted: &str) {
    for app in apps {
        assert_eq!(kid(&app.token().await), wanted);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_encryption_key_leaves_no_moment_without_the_signer() {
    let operator = Operator::new().await;
    let signer = operator.add_active("eddsa").await;
    let (one, other) = (operator.replica().await, operator.replica().await);
    one.register_john().await;
    all_sign(&[&one, &other], &signer).await;
    // The replicas are restarted with both keys, one after the other.
    one.app.stop().await;
    let one = operator.replica_with(&BOTH).await;
    all_sign(&[&one, &other], &signer).await;
    other.app.stop().await;
    let other = operator.replica_with(&BOTH).await;
    all_sign(&[&one, &other], &signer).await;
    let watch = async {
        loop {
            all_sign(&[&one, &other], &signer).await;
        }
    };
    let resealed = tokio::select! {
        resealed = operator.resealed() => resealed,
        () = watch => Vec::new(),
    };
    assert_eq!(resealed, [signer.as_str()]);
    // Both go on with what they read anew, and are restarted with the new key alone.
    one.app.stop().await;
    let one = operator.replica_with(&NEW_ALONE).await;
    all_sign(&[&one, &other], &signer).await;
    // What comes after signs on both.
    let rotate = operator.keys(&["rotate", "--json"]).env(VARIABLE, ANOTHER_ENCRYPTION_KEY).run().await;
    let told: Value = serde_json::from_str(&rotate.stdout).unwrap();
    let next = told["keys"].as_array().unwrap().last().unwrap()["kid"].as_str().unwrap().to_owned();
    operator.let_time_pass().await;
    for app in [&one, &other] {
        signs(app, &next).await;
        assert_eq!(crate::metrics::sample(&app.admin(), "rollcall_signing_keys_unusable").await, 0);
    }
    let old = TestApp::try_start(&operator.db, &[("tokens.encryption_key", ENCRYPTION_KEY)]).await.unwrap_err();
    assert!(old.to_string().contains("tokens.previous_encryption_key"), "{old}");
}

#[tokio::test]
async fn reseal_tells_what_it_did_once_and_leaves_an_event() {
    let operator = Operator::new().await;
    let kids = [operator.add("eddsa").await, operator.add("es256").await];
    let before = operator.stored().await;
    assert_eq!(operator.resealed().await, kids);
    let after = operator.stored().await;
    assert!(before.iter().zip(&after).all(|(before, after)| before != after));
    assert_eq!(operator.events().await, [json!({"kids": kids})]);
    let again = operator.reseal(&[]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    let last = again.stdout.lines().last().unwrap();
    assert_eq!(last, "all are encrypted under tokens.encryption_key already");
    assert_eq!((operator.stored().await, operator.events().await.len()), (after, 1));
    let back = operator.keys(&["reseal"]).env(PREVIOUS, ANOTHER_ENCRYPTION_KEY).run().await;
    let last = back.stdout.lines().last().unwrap();
    assert_eq!(last, format!("encrypted under tokens.encryption_key now: {}", kids.join(", ")));
}

#[tokio::test]
async fn reseal_changes_all_keys_or_none() {
    let operator = Operator::new().await;
    operator.add("eddsa").await;
    let third = "11".repeat(32);
    let foreign = operator.keys(&["add", "--algorithm", "es256", "--json"]).env(VARIABLE, &third).run().await;
    let told: Value = serde_json::from_str(&foreign.stdout).unwrap();
    let foreign = told["keys"].as_array().unwrap().last().unwrap()["kid"].as_str().unwrap().to_owned();
    let before = operator.stored().await;
    operator.reseal(&[]).await.expect_failure(&[&foreign, "tokens.previous_encryption_key", "rollcall keys retire"]);
    assert_eq!(operator.stored().await, before);
    operator.json(&["retire", &foreign]).await;
    let before = operator.stored().await;
    operator.db.run("ALTER FUNCTION audit_append(TEXT, UUID, TEXT, TEXT, JSONB) RENAME TO gone").await;
    operator.reseal(&[]).await.expect_failure(&["cannot be read or changed", "audit_append"]);
    assert_eq!(operator.stored().await, before, "not without its event");
    operator.db.run("ALTER FUNCTION gone(TEXT, UUID, TEXT, TEXT, JSONB) RENAME TO audit_append").await;
    assert_eq!(operator.resealed().await.len(), 1);
    let bare = operator.keys(&["reseal"]).without(VARIABLE).run().await;
    bare.expect_failure(&["tokens.encryption_key is not set"]);
}

#[tokio::test]
async fn a_previous_key_that_is_malformed_or_alone_is_refused() {
    let home = Home::new();
    let bad = &ENCRYPTION_KEY[2..];
    let malformed = home.program(&["check"]).env(VARIABLE, ENCRYPTION_KEY).env(PREVIOUS, bad).run().await;
    malformed.expect_failure(&["tokens.previous_encryption_key", PREVIOUS, "32 bytes"]);
    assert!(!malformed.stderr.contains(bad), "{}", malformed.stderr);
    let alone = home.program(&["check"]).env(PREVIOUS, ENCRYPTION_KEY).run().await;
    alone.expect_failure(&["tokens.previous_encryption_key", PREVIOUS, "without tokens.encryption_key"]);
}

#[tokio::test]
async fn check_says_whether_the_previous_key_is_needed() {
    let operator = Operator::new().await;
    let check = async || {
        let start = operator.home.serve_on(&operator.db).arg("check");
        let exit = start.env(VARIABLE, ANOTHER_ENCRYPTION_KEY).env(PREVIOUS, ENCRYPTION_KEY).run().await;
        assert_eq!(exit.code, Some(0), "{exit:?}");
        exit.stdout
    };
    let added = operator.add("eddsa").await;
    let needed = format!("; tokens.previous_encryption_key is needed until `rollcall keys reseal` for {added})\n");
    let said = check().await;
    assert!(said.contains(&needed), "{said}");
    operator.resealed().await;
    let said = check().await;
    assert!(said.contains("; nothing needs tokens.previous_encryption_key any more)\n"), "{said}");
}
