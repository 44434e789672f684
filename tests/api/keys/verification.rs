//! What a token may not do: choose its algorithm, bring its key, or name one that is not there.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::{JWKS, Operator, claims, forge, published};
use crate::harness::{SECRET, TestApp, until};

/// A service with a key of each algorithm, and what is needed to forge tokens for its user.
struct Attack {
    operator: Operator,
    app: TestApp,
    claims: Value,
    ed: String,
    ec: String,
}

impl Attack {
    async fn new() -> Self {
        let operator = Operator::new().await;
        let app = operator.replica().await;
        let claims = claims(&app.register_john().await);
        let (ed, ec) = (operator.add_active("eddsa").await, operator.add_active("es256").await);
        until("both keys", async || published(&app).await.len() == 2).await;
        Self { operator, app, claims, ed, ec }
    }

    fn forge(&self, header: &Value, algorithm: Algorithm, key: &EncodingKey) -> String {
        forge(&header.to_string(), &self.claims, algorithm, key)
    }

    async fn refused(&self, token: &str) {
        let answer = self.app.me(token).await;
        assert_eq!(answer.status, 401, "{token}");
        answer.expect_refusal(401, "invalid_token");
    }

    async fn accepted(&self, token: &str) {
        assert_eq!(self.app.me(token).await.status, 200, "{token}");
    }
}

fn secret() -> EncodingKey {
    EncodingKey::from_secret(SECRET.as_bytes())
}

#[tokio::test]
async fn a_public_key_is_no_secret_to_sign_with() {
    let attack = Attack::new().await;
    let set = attack.app.get(JWKS).await;
    for jwk in set.json()["keys"].as_array().unwrap() {
        let coordinate = |name: &str| jwk[name].as_str().map(|text| URL_SAFE_NO_PAD.decode(text).unwrap());
        let x = coordinate("x").unwrap();
        let point = [&[4][..], &x, &coordinate("y").unwrap_or_default()].concat();
        let texts = [jwk.to_string(), set.text(), jwk["x"].as_str().unwrap().to_owned()].map(String::into_bytes);
        for bytes in texts.into_iter().chain([x, point]) {
            let key = EncodingKey::from_secret(&bytes);
            for header in [
                json!({"alg": "HS256", "kid": jwk["kid"]}),
                json!({"alg": jwk["alg"], "kid": jwk["kid"]}),
                json!({"alg": "HS256"}),
            ] {
                attack.refused(&attack.forge(&header, Algorithm::HS256, &key)).await;
            }
        }
    }
}

#[tokio::test]
async fn the_key_decides_the_algorithm() {
    let attack = Attack::new().await;
    let (ed, ec) = (attack.operator.private(&attack.ed).await, attack.operator.private(&attack.ec).await);
    attack.accepted(&attack.forge(&json!({"alg": "EdDSA", "kid": attack.ed}), Algorithm::EdDSA, &ed)).await;
    attack.accepted(&attack.forge(&json!({"alg": "ES256", "kid": attack.ec}), Algorithm::ES256, &ec)).await;
    attack.accepted(&attack.forge(&json!({"alg": "HS256"}), Algorithm::HS256, &secret())).await;
    for alg in ["none", "None", "NONE", "", "hs256", "Hs256", "eddsa", "EDDSA", "es256", "ES384", "RS256", "HS512"] {
        for kid in [Value::Null, json!(attack.ed), json!(attack.ec)] {
            let header = json!({"alg": alg, "kid": kid});
            for (algorithm, key) in [(Algorithm::EdDSA, &ed), (Algorithm::ES256, &ec), (Algorithm::HS256, &secret())] {
                let token = attack.forge(&header, algorithm, key);
                attack.refused(&token).await;
                attack.refused(&token[..=token.rfind('.').unwrap()]).await;
            }
        }
    }
    // A key of the one type under the algorithm of the other, and the secret under the name of either.
    for (alg, kid) in [("EdDSA", &attack.ec), ("ES256", &attack.ed), ("HS256", &attack.ed), ("HS256", &attack.ec)] {
        let header = json!({"alg": alg, "kid": kid});
        for (algorithm, key) in [(Algorithm::EdDSA, &ed), (Algorithm::ES256, &ec), (Algorithm::HS256, &secret())] {
            attack.refused(&attack.forge(&header, algorithm, key)).await;
        }
    }
}

#[tokio::test]
async fn a_foreign_key_under_a_known_name_is_refused() {
    let attack = Attack::new().await;
    let elsewhere = Operator::new().await;
    let foreign = (elsewhere.add("eddsa").await, elsewhere.add("es256").await);
    let (ed, ec) = (elsewhere.private(&foreign.0).await, elsewhere.private(&foreign.1).await);
    for kid in [&attack.ed, &foreign.0] {
        attack.refused(&attack.forge(&json!({"alg": "EdDSA", "kid": kid}), Algorithm::EdDSA, &ed)).await;
    }
    for kid in [&attack.ec, &foreign.1] {
        attack.refused(&attack.forge(&json!({"alg": "ES256", "kid": kid}), Algorithm::ES256, &ec)).await;
    }
    let jwk = elsewhere.db.value::<String>("SELECT public_key::text FROM signing_keys ORDER BY 1 LIMIT 1", &[]).await;
    let jwk: Value = serde_json::from_str(&jwk).unwrap();
    let (algorithm, key) = if jwk["kty"] == "EC" { (Algorithm::ES256, &ec) } else { (Algorithm::EdDSA, &ed) };
    for brought in [
        json!({"jwk": jwk}),
        json!({"jku": "http://127.0.0.1:1/jwks.json"}),
        json!({"x5u": "http://127.0.0.1:1/cert.pem"}),
        json!({"x5c": ["MIIB"]}),
    ] {
        for kid in [json!(attack.ed), json!(attack.ec), jwk["kid"].clone(), Value::Null] {
            let mut header = brought.clone();
            (header["alg"], header["kid"]) = (jwk["alg"].clone(), kid);
            attack.refused(&attack.forge(&header, algorithm, key)).await;
        }
    }
}

#[tokio::test]
async fn a_key_that_a_token_brings_is_not_even_looked_at() {
    let attack = Attack::new().await;
    let ed = attack.operator.private(&attack.ed).await;
    for more in [json!({"jku": "http://127.0.0.1:1/"}), json!({"x5u": "http://127.0.0.1:1/"}), json!({"cty": "x"})] {
        let mut header = more;
        (header["alg"], header["kid"]) = (json!("EdDSA"), json!(attack.ed));
        attack.accepted(&attack.forge(&header, Algorithm::EdDSA, &ed)).await;
    }
}

#[tokio::test]
async fn a_name_is_a_name_and_nothing_else() {
    let attack = Attack::new().await;
    let ed = attack.operator.private(&attack.ed).await;
    let kid = &attack.ed;
    let texts = [
        "",
        " ",
        ".",
        "*",
        "%",
        "../../../../dev/null",
        "/etc/passwd",
        "' OR '1'='1",
        "'; DROP TABLE signing_keys; --",
        "\u{0}",
        "tokens.secret",
        "null",
        "🔑",
    ];
    let near = [format!("{kid} "), kid[1..].to_owned(), kid.to_lowercase(), format!("{kid}\u{0}"), "k".repeat(4000)];
    for name in texts.iter().map(|text| (*text).to_owned()).chain(near) {
        let header = json!({"alg": "EdDSA", "kid": name});
        attack.refused(&attack.forge(&header, Algorithm::EdDSA, &ed)).await;
        let header = json!({"alg": "HS256", "kid": name});
        attack.refused(&attack.forge(&header, Algorithm::HS256, &secret())).await;
        attack.refused(&attack.forge(&header, Algorithm::HS256, &EncodingKey::from_secret(b""))).await;
    }
    for name in [json!(1), json!([kid]), json!({"$ne": ""}), json!(true)] {
        let header = json!({"alg": "EdDSA", "kid": name});
        attack.refused(&attack.forge(&header, Algorithm::EdDSA, &ed)).await;
    }
    for header in [
        format!(r#"{{"alg":"EdDSA","kid":"{kid}","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}","kid":null}}"#),
        format!(r#"{{"alg":"EdDSA","alg":"EdDSA","kid":"{kid}"}}"#),
        format!(r#"["EdDSA","{kid}",false]"#),
    ] {
        attack.refused(&forge(&header, &attack.claims, Algorithm::EdDSA, &ed)).await;
    }
    assert_eq!(attack.operator.json(&["list"]).await.len(), 2, "the table is as it was");
}

#[tokio::test]
async fn without_a_name_only_the_secret_counts() {
    let attack = Attack::new().await;
    let (ed, ec) = (attack.operator.private(&attack.ed).await, attack.operator.private(&attack.ec).await);
    for header in [json!({"alg": "EdDSA"}), json!({"alg": "EdDSA", "kid": null})] {
        attack.refused(&attack.forge(&header, Algorithm::EdDSA, &ed)).await;
    }
    attack.refused(&attack.forge(&json!({"alg": "ES256"}), Algorithm::ES256, &ec)).await;
    attack.accepted(&attack.forge(&json!({"alg": "HS256", "kid": null}), Algorithm::HS256, &secret())).await;
}

#[tokio::test]
async fn demands_of_a_header_are_refused() {
    let attack = Attack::new().await;
    let ed = attack.operator.private(&attack.ed).await;
    for crit in [json!(["exp"]), json!(["b64"]), json!([]), json!(null), json!("exp")] {
        let header = json!({"alg": "EdDSA", "kid": attack.ed, "crit": crit, "b64": true});
        attack.refused(&attack.forge(&header, Algorithm::EdDSA, &ed)).await;
        attack.refused(&attack.forge(&json!({"alg": "HS256", "crit": crit}), Algorithm::HS256, &secret())).await;
    }
}

#[tokio::test]
async fn an_expired_or_changed_token_of_a_key_is_refused() {
    let attack = Attack::new().await;
    let ec = attack.operator.private(&attack.ec).await;
    let header = json!({"alg": "ES256", "kid": attack.ec});
    let good = attack.forge(&header, Algorithm::ES256, &ec);
    attack.accepted(&good).await;
    for at in (0..good.len()).step_by(5) {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        if bytes != good.as_bytes() {
            attack.refused(&String::from_utf8(bytes).unwrap()).await;
        }
    }
    for (claim, value) in [("exp", json!(1)), ("nbf", json!(4_102_444_800_u64)), ("userId", json!("x"))] {
        let mut claims = attack.claims.clone();
        claims[claim] = value;
        attack.refused(&forge(&header.to_string(), &claims, Algorithm::ES256, &ec)).await;
    }
}

#[tokio::test]
async fn a_huge_token_is_refused() {
    let attack = Attack::new().await;
    let ed = attack.operator.private(&attack.ed).await;
    let mut claims = attack.claims.clone();
    claims["more"] = json!("x".repeat(7 * 1024));
    let header = json!({"alg": "EdDSA", "kid": attack.ed}).to_string();
    attack.refused(&forge(&header, &claims, Algorithm::EdDSA, &ed)).await;
    let header = json!({"alg": "EdDSA", "kid": attack.ed, "x": "[".repeat(9000)});
    attack.refused(&attack.forge(&header, Algorithm::EdDSA, &ed)).await;
    let deep = format!(r#"{{"alg":"HS256","x":{}1{}}}"#, "[".repeat(2000), "]".repeat(2000));
    attack.refused(&forge(&deep, &attack.claims, Algorithm::HS256, &secret())).await;
}

#[tokio::test]
async fn the_key_of_another_in_the_table_is_not_used() {
    let attack = Attack::new().await;
    let (kid, other) = (&attack.ed, &attack.ec);
    let elsewhere = Operator::new().await;
    let foreign = elsewhere.add("eddsa").await;
    let private = elsewhere.private(&foreign).await;
    let jwk: String = elsewhere.db.value("SELECT public_key::text FROM signing_keys", &[]).await;
    // Under the name that it has itself, and under that of the row.
    for jwk in [jwk.clone(), jwk.replace(&foreign, kid)] {
        let sql = "UPDATE signing_keys SET public_key = $1::text::jsonb WHERE kid = $2";
        attack.operator.db.execute(sql, &[&jwk, kid]).await;
        until("one key", async || published(&attack.app).await == [other.clone()]).await;
        attack.refused(&attack.forge(&json!({"alg": "EdDSA", "kid": kid}), Algorithm::EdDSA, &private)).await;
        attack.refused(&attack.forge(&json!({"alg": "EdDSA", "kid": foreign}), Algorithm::EdDSA, &private)).await;
    }
    let unusable = crate::metrics::sample(&attack.app.admin(), "rollcall_signing_keys_unusable").await;
    assert_eq!(unusable, 1);
}
