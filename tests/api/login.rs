//! The login cases of the service that this one replaces, by their names there.

use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::{Answer, EMAIL, PASSWORD, SECRET, TestApp};

/// A service that knows the usual user, and the user.
async fn started() -> (TestApp, Value) {
    let app = TestApp::start().await;
    let user = app.register_john().await;
    (app, user)
}

async fn login_with(body: Value) -> Answer {
    let (app, _) = started().await;
    app.post("/api/users/login", &body).await
}

async fn me_with(authorization: Option<&str>) -> Answer {
    let (app, _) = started().await;
    let mut request = app.request("GET", "/api/users/me");
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    app.send(request.body(Full::default()).unwrap()).await
}

#[tokio::test]
async fn test_login_success() {
    let (app, user) = started().await;
    let body = app.login(EMAIL, PASSWORD).await.expect_json(200);
    assert_eq!(body["success"], true);
    assert_eq!(body["message"], "Login successful");
    assert_eq!(body["data"]["user"], user);
    let upper = app.login(&EMAIL.to_uppercase(), PASSWORD).await.expect_json(200);
    assert_eq!(upper["data"]["user"], user, "addresses are compared in lower case");
}

#[tokio::test]
async fn test_login_invalid_email() {
    let (app, _) = started().await;
    let answer = app.login("jane.doe@example.com", PASSWORD).await;
    answer.expect_refusal(401, "invalid_credentials");
    assert_eq!(answer.json()["message"], "Invalid email or password");
}

#[tokio::test]
async fn test_login_invalid_password() {
    let (app, _) = started().await;
    let wrong = app.login(EMAIL, "WrongPass123").await;
    wrong.expect_refusal(401, "invalid_credentials");
    let unknown = app.login("jane.doe@example.com", "WrongPass123").await;
    assert_eq!((wrong.status, wrong.body), (unknown.status, unknown.body), "nothing tells which of both is wrong");
}

#[tokio::test]
async fn test_login_missing_email() {
    login_with(json!({"password": PASSWORD})).await.expect_refusal(400, "missing_credentials");
}

#[tokio::test]
async fn test_login_missing_password() {
    login_with(json!({"email": EMAIL})).await.expect_refusal(400, "missing_credentials");
}

#[tokio::test]
async fn test_login_empty_credentials() {
    login_with(json!({"email": "", "password": ""})).await.expect_refusal(400, "missing_credentials");
    login_with(json!({})).await.expect_refusal(400, "missing_credentials");
    login_with(json!({"email": null, "password": null})).await.expect_refusal(400, "missing_credentials");
}

#[tokio::test]
async fn test_token_contains_user_info() {
    let (app, user) = started().await;
    let token = app.token().await;
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    rules.leeway = 0;
    let key = jsonwebtoken::DecodingKey::from_secret(SECRET.as_bytes());
    let decoded = jsonwebtoken::decode::<Value>(&token, &key, &rules).unwrap();
    assert_eq!(decoded.header.alg, jsonwebtoken::Algorithm::HS256);
    assert_eq!(decoded.header.typ.as_deref(), Some("JWT"));
    let claims = decoded.claims;
    assert_eq!(claims["userId"], user["userId"]);
    assert_eq!(claims["email"], EMAIL);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 86_400);
    let age = time::OffsetDateTime::now_utc().unix_timestamp() - claims["iat"].as_i64().unwrap();
    assert!((0..60).contains(&age), "{age}");
}

#[tokio::test]
async fn test_get_current_user_success() {
    let (app, user) = started().await;
    let token = app.token().await;
    let body = app.me(&token).await.expect_json(200);
    assert_eq!(body, json!({"success": true, "data": user}));
}

#[tokio::test]
async fn test_get_current_user_no_token() {
    me_with(None).await.expect_refusal(403, "not_authenticated");
}

#[tokio::test]
async fn test_get_current_user_invalid_token() {
    let answer = me_with(Some("Bearer invalid.token.here")).await;
    answer.expect_refusal(401, "invalid_token");
    assert_eq!(answer.json()["message"], "Invalid or expired token");
}

#[tokio::test]
async fn test_get_current_user_malformed_header() {
    me_with(Some("InvalidHeader")).await.expect_refusal(403, "not_authenticated");
}

#[tokio::test]
async fn test_login_response_structure() {
    let body = login_with(json!({"email": EMAIL, "password": PASSWORD})).await.expect_json(200);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&body), ["data", "message", "success"]);
    assert_eq!(keys(&body["data"]), ["token", "user"]);
    assert_eq!(keys(&body["data"]["user"]), ["createdAt", "email", "name", "userId"]);
    assert_eq!(body["data"]["token"].as_str().unwrap().split('.').count(), 3);
}

#[tokio::test]
async fn test_error_response_structure() {
    let body = login_with(json!({"email": EMAIL, "password": "WrongPass123"})).await.expect_json(401);
    assert_eq!(
        body,
        json!({
            "success": false,
            "message": "Invalid email or password",
            "error": {"code": "invalid_credentials"},
        })
    );
}
