//! Tokens: which are accepted, which are refused, and how they have to be presented.

use http_body_util::Full;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::harness::{Answer, EMAIL, NAME, SECRET, TestApp, Wire};

/// Made with Python's hmac as python-jose serializes, under the tests' secret: `{"userId": PYTHON_ID, "email": EMAIL,
/// "exp": 4102444800, "iat": 1713148167}`.
const PYTHON_TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
    eyJ1c2VySWQiOiI1NTBlODQwMC1lMjliLTQxZDQtYTcxNi00NDY2NTU0NDAwMDAiLCJlbWFpbCI6ImpvaG4uZG9lQGV4YW1wbGUuY29tIiwiZXhwIjo0MTAyNDQ0ODAwLCJpYXQiOjE3MTMxNDgxNjd9.\
    Lfe2950FU4gzli7wnIXDlJBUHsXw2gSak028T4mi2ws";
const PYTHON_ID: &str = "550e8400-e29b-41d4-a716-446655440000";

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        text.extend((0..=group.len()).map(|at| char::from(ALPHABET[(bits >> (18 - 6 * at)) as usize & 63])));
    }
    text
}

/// A token of exactly this header and these claims, its signature by `algorithm` and `secret` whatever the header says.
fn forge(header: &Value, claims: &str, algorithm: Algorithm, secret: &str) -> String {
    let message = format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.as_bytes()));
    let signature = crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret.as_bytes()), algorithm).unwrap();
    format!("{message}.{signature}")
}

/// A token as the service would sign it, but for its claims.
fn token_of(claims: &Value) -> String {
    forge(&json!({"alg": "HS256", "typ": "JWT"}), &claims.to_string(), Algorithm::HS256, SECRET)
}

/// A service that knows the usual user, and claims that hold for them.
async fn started() -> (TestApp, Value) {
    let app = TestApp::start().await;
    let user = app.register_john().await;
    let claims = json!({"userId": user["userId"], "email": EMAIL, "iat": now(), "exp": now() + 600});
    (app, claims)
}

fn but(claims: &Value, key: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(key)),
        value => claims[key] = value,
    }
    claims
}

async fn authorize(app: &TestApp, values: &[&[u8]]) -> Answer {
    let mut request = app.request("GET", "/api/users/me");
    for value in values {
        request = request.header("authorization", *value);
    }
    app.send(request.body(Full::default()).unwrap()).await
}

#[tokio::test]
async fn a_token_of_the_python_service_is_accepted() {
    let app = TestApp::start().await;
    let insert = format!(
        "INSERT INTO users (user_id, name, email, password_hash) VALUES ('{PYTHON_ID}', '{NAME}', '{EMAIL}', '')"
    );
    app.db.run(&insert).await;
    let body = app.me(PYTHON_TOKEN).await.expect_json(200);
    assert_eq!(body["data"]["userId"], PYTHON_ID);
}

#[tokio::test]
async fn tokens_are_what_the_python_service_reads() {
    let (app, _) = started().await;
    let token = app.token().await;
    let parts: Vec<_> = token.split('.').collect();
    let signature = crypto::sign(
        format!("{}.{}", parts[0], parts[1]).as_bytes(),
        &EncodingKey::from_secret(SECRET.as_bytes()),
        Algorithm::HS256,
    );
    assert_eq!(signature.unwrap(), parts[2], "HMAC-SHA-256 of the two parts before it");
    let claims = jsonwebtoken::dangerous::insecure_decode_claims::<Value>(&token).unwrap();
    assert!(claims["userId"].is_string() && claims["email"].is_string(), "{claims}");
    assert!(claims["iat"].is_i64() && claims["exp"].is_i64(), "whole seconds: {claims}");
}

#[tokio::test]
async fn a_token_lives_for_a_day_or_as_long_as_configured() {
    for (overrides, lifetime) in [(&[][..], 86_400), (&[("tokens.ttl_s", "60")][..], 60)] {
        let app = TestApp::with(overrides).await;
        app.register_john().await;
        let claims = jsonwebtoken::dangerous::insecure_decode_claims::<Value>(&app.token().await).unwrap();
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), lifetime);
    }
}

#[tokio::test]
async fn more_claims_than_needed_do_no_harm() {
    let (app, claims) = started().await;
    let more = but(&but(&claims, "sub", json!("x")), "roles", json!(["admin", {"a": 1}]));
    app.me(&token_of(&claims)).await.expect_json(200);
    app.me(&token_of(&more)).await.expect_json(200);
    let header = json!({"alg": "HS256"});
    app.me(&forge(&header, &claims.to_string(), Algorithm::HS256, SECRET)).await.expect_json(200);
}

#[tokio::test]
async fn an_expired_token_is_401_to_the_second() {
    let (app, claims) = started().await;
    for expiry in [now() - 1, now() - 61, 0, -1] {
        let token = token_of(&but(&claims, "exp", json!(expiry)));
        app.me(&token).await.expect_refusal(401, "invalid_token");
    }
}

#[tokio::test]
async fn a_token_that_holds_only_later_is_401() {
    let (app, claims) = started().await;
    let token = token_of(&but(&claims, "nbf", json!(now() + 600)));
    app.me(&token).await.expect_refusal(401, "invalid_token");
}

#[tokio::test]
async fn a_token_of_another_key_is_401() {
    let (app, claims) = started().await;
    let header = json!({"alg": "HS256", "typ": "JWT"});
    for secret in ["another-secret-that-is-long-enough-too!", "", &SECRET[1..], &format!("{SECRET} ")] {
        let token = forge(&header, &claims.to_string(), Algorithm::HS256, secret);
        app.me(&token).await.expect_refusal(401, "invalid_token");
    }
}

#[tokio::test]
async fn a_token_cannot_choose_its_algorithm() {
    let (app, claims) = started().await;
    let claims = claims.to_string();
    for algorithm in ["none", "None", "NONE", "", "HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA", "hs256"] {
        let header = json!({"alg": algorithm, "typ": "JWT"});
        let signed = forge(&header, &claims, Algorithm::HS256, SECRET);
        let unsigned = &signed[..=signed.rfind('.').unwrap()];
        app.me(&signed).await.expect_refusal(401, "invalid_token");
        app.me(unsigned).await.expect_refusal(401, "invalid_token");
    }
    for (name, algorithm) in [("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)] {
        let token = forge(&json!({"alg": name, "typ": "JWT"}), &claims, algorithm, SECRET);
        app.me(&token).await.expect_refusal(401, "invalid_token");
    }
    let embedded = json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "c2VjcmV0"}, "kid": "../../dev/null"});
    let token = forge(&embedded, &claims, Algorithm::HS256, "secret");
    app.me(&token).await.expect_refusal(401, "invalid_token");
}

#[tokio::test]
async fn a_token_with_any_part_changed_is_401() {
    let (app, claims) = started().await;
    let token = app.token().await;
    app.me(&token).await.expect_json(200);
    let parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    let other = base64(but(&claims, "userId", json!(PYTHON_ID)).to_string().as_bytes());
    let mut tampered = vec![
        format!("{}.{other}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.{}=", parts[0], parts[1], parts[2]),
        format!("{token}.{}", parts[2]),
        format!(".{token}"),
        "..".to_owned(),
        "x".repeat(10_000),
    ];
    for at in (0..token.len()).step_by(7).chain([token.len() - 2]) {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        tampered.push(String::from_utf8(bytes).unwrap());
    }
    for token in tampered {
        app.me(&token).await.expect_refusal(401, "invalid_token");
    }
}

#[tokio::test]
async fn a_token_without_its_claims_is_401() {
    let (app, claims) = started().await;
    for key in ["userId", "exp", "iat", "email"] {
        app.me(&token_of(&but(&claims, key, Value::Null))).await.expect_refusal(401, "invalid_token");
    }
    for (key, value) in [
        ("userId", json!("not-a-uuid")),
        ("userId", json!(1)),
        ("userId", json!("' OR 1=1 --")),
        ("exp", json!("soon")),
        ("exp", json!(true)),
        ("iat", json!("yesterday")),
        ("email", json!(1)),
    ] {
        app.me(&token_of(&but(&claims, key, value))).await.expect_refusal(401, "invalid_token");
    }
    for claims in ["[]", "null", "", "{", "\"text\""] {
        let token = forge(&json!({"alg": "HS256"}), claims, Algorithm::HS256, SECRET);
        app.me(&token).await.expect_refusal(401, "invalid_token");
    }
}

#[tokio::test]
async fn the_token_of_a_user_who_is_gone_is_401() {
    let (app, _) = started().await;
    let token = app.token().await;
    app.db.run("DELETE FROM users").await;
    app.me(&token).await.expect_refusal(401, "invalid_token");
}

#[tokio::test]
async fn the_user_behind_a_token_is_read_anew_each_time() {
    let (app, _) = started().await;
    let token = app.token().await;
    app.db.run("UPDATE users SET name = 'Jane Doe', email = 'jane.doe@example.com'").await;
    let body = app.me(&token).await.expect_json(200);
    assert_eq!((&body["data"]["name"], &body["data"]["email"]), (&json!("Jane Doe"), &json!("jane.doe@example.com")));
}

#[tokio::test]
async fn headers_that_are_not_bearer_and_a_token_are_403() {
    let (app, _) = started().await;
    let token = app.token().await;
    let bearer = format!("Bearer {token}").into_bytes();
    authorize(&app, &[&bearer]).await.expect_json(200);
    for value in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        token.clone(),
        format!("Token {token}"),
        format!("Basic {token}"),
        format!("Bearer{token}"),
        format!("Bearer  {token}"),
        format!("Bearer\t{token}"),
        format!("Bearer {token} x"),
        format!("Bearer: {token}"),
        format!("Bearer {token},Bearer {token}"),
    ] {
        authorize(&app, &[value.as_bytes()]).await.expect_refusal(403, "not_authenticated");
    }
    authorize(&app, &[b"Bearer \xff\xfe"]).await.expect_refusal(403, "not_authenticated");
    authorize(&app, &[&bearer, &bearer]).await.expect_refusal(403, "not_authenticated");
    authorize(&app, &[&bearer, b"Basic x"]).await.expect_refusal(403, "not_authenticated");
}

#[tokio::test]
async fn the_scheme_may_be_written_in_any_case() {
    let (app, _) = started().await;
    let token = app.token().await;
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        authorize(&app, &[format!("{scheme} {token}").as_bytes()]).await.expect_json(200);
    }
}

#[tokio::test]
async fn a_token_counts_in_the_header_only() {
    let (app, _) = started().await;
    let token = app.token().await;
    let mut wire = Wire::open(app.addr).await;
    wire.send(format!(
        "GET /api/users/me?access_token={token} HTTP/1.1\r\nhost: test\r\ncookie: token={token}\r\n\r\n"
    ))
    .await;
    wire.answer().await.expect_refusal(403, "not_authenticated");
}

#[tokio::test]
async fn a_token_of_one_service_is_good_for_another_with_its_secret() {
    let (app, _) = started().await;
    let token = app.token().await;
    let other = TestApp::on(app.db.clone(), &[]).await;
    other.me(&token).await.expect_json(200);
    let stranger = TestApp::on(app.db.clone(), &[("tokens.secret", "another-secret-that-is-long-enough-too!")]).await;
    stranger.me(&token).await.expect_refusal(401, "invalid_token");
}

/// Twice as many as a service remembers.
#[tokio::test]
async fn more_tokens_than_are_remembered_are_all_good() {
    let (app, claims) = started().await;
    let tokens = &app.app.handles().tokens;
    let user: uuid::Uuid = claims["userId"].as_str().unwrap().parse().unwrap();
    let all: Vec<_> = (0..40_000).map(|n| token_of(&but(&claims, "n", json!(n)))).collect();
    // When they come again, the first are forgotten.
    for token in all.iter().chain(&all) {
        assert_eq!(tokens.verify(token).unwrap().user, user);
    }
    for n in (0..40_000).step_by(1000) {
        let (header, claims) = (json!({"alg": "HS256", "typ": "JWT"}), but(&claims, "n", json!(n)).to_string());
        let forged = forge(&header, &claims, Algorithm::HS256, "another-secret-that-is-long-enough-too!");
        assert!(tokens.verify(&forged).is_err(), "{n}");
    }
    app.me(&all[0]).await.expect_json(200);
}
