//! The registration cases of the service that this one replaces, by their names there.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::api::{john, john_but};
use crate::harness::{Answer, EMAIL, NAME, PASSWORD, TestApp};

/// Registers with one field changed (null leaves it out) and expects a 422 that names this field alone; nothing is stored.
async fn refused(field: &str, value: impl Into<Value>) -> Vec<String> {
    let app = TestApp::start().await;
    let answer = app.register(&john_but(field, value)).await;
    let details = answer.expect_refusal(422, "validation_failed");
    assert!(details.iter().all(|(at, _)| at == field), "{answer:?}");
    assert_eq!(app.db.users().await, 0);
    details.into_iter().map(|(_, message)| message).collect()
}

async fn registered() -> (TestApp, Answer) {
    let app = TestApp::start().await;
    let answer = app.register(&john()).await;
    (app, answer)
}

#[tokio::test]
async fn test_register_user_success() {
    let (app, answer) = registered().await;
    let body = answer.expect_json(201);
    assert_eq!(body["success"], true);
    assert_eq!(body["message"], "User registered successfully");
    assert_eq!(body["data"]["name"], NAME);
    assert_eq!(body["data"]["email"], EMAIL);
    let row = app.db.rows("SELECT user_id, name, email FROM users", &[]).await;
    assert_eq!(row.len(), 1);
    assert_eq!(row[0].get::<_, Uuid>(0).to_string(), body["data"]["userId"]);
    assert_eq!((row[0].get(1), row[0].get(2)), (NAME, EMAIL));
}

#[tokio::test]
async fn test_register_user_missing_email() {
    assert_eq!(refused("email", Value::Null).await, ["is required"]);
}

#[tokio::test]
async fn test_register_user_invalid_email_format() {
    assert_eq!(refused("email", "not-an-email").await, ["must be a valid email address, such as name@example.com"]);
}

#[tokio::test]
async fn test_register_user_missing_password() {
    assert_eq!(refused("password", Value::Null).await, ["is required"]);
}

#[tokio::test]
async fn test_register_user_password_too_short() {
    assert_eq!(refused("password", "Short1a").await, ["must be at least 8 characters long"]);
}

#[tokio::test]
async fn test_register_user_password_missing_uppercase() {
    assert_eq!(refused("password", "securepass123").await, ["must contain an upper-case letter"]);
}

#[tokio::test]
async fn test_register_user_password_missing_lowercase() {
    assert_eq!(refused("password", "SECUREPASS123").await, ["must contain a lower-case letter"]);
}

#[tokio::test]
async fn test_register_user_password_missing_number() {
    assert_eq!(refused("password", "SecurePassword").await, ["must contain a digit"]);
}

#[tokio::test]
async fn test_register_user_name_too_long() {
    assert_eq!(refused("name", "a".repeat(101)).await, ["must be at most 100 characters long"]);
}

#[tokio::test]
async fn test_register_user_name_empty() {
    assert_eq!(refused("name", "").await, ["must not be empty"]);
}

#[tokio::test]
async fn test_register_user_duplicate_email() {
    let (app, answer) = registered().await;
    answer.expect_json(201);
    let again = app.register(&json!({"name": "Jane Doe", "email": EMAIL, "password": "OtherPass456"})).await;
    again.expect_refusal(409, "email_taken");
    assert_eq!(again.json()["message"], "Email already registered");
    assert_eq!(app.db.value::<String>("SELECT name FROM users", &[]).await, NAME);
}

#[tokio::test]
async fn test_password_is_hashed_before_storage() {
    let (app, answer) = registered().await;
    answer.expect_json(201);
    let stored: String = app.db.value("SELECT password_hash FROM users", &[]).await;
    assert!(stored.starts_with("$2b$04$"), "{stored}");
    assert_eq!(stored.len(), 60);
    assert!(bcrypt::verify(PASSWORD, &stored).unwrap(), "another implementation of bcrypt agrees");
    assert!(!bcrypt::verify("SecurePass124", &stored).unwrap());
}

#[tokio::test]
async fn test_password_not_returned_in_response() {
    let (app, answer) = registered().await;
    answer.expect_json(201);
    let login = app.login(EMAIL, PASSWORD).await;
    login.expect_json(200);
    let me = app.me(login.json()["data"]["token"].as_str().unwrap()).await;
    me.expect_json(200);
    for answer in [answer, login, me] {
        assert!(!answer.text().contains(PASSWORD), "{answer:?}");
        assert!(!answer.text().contains("$2b$"), "{answer:?}");
        assert!(!answer.text().to_lowercase().contains("password"), "{answer:?}");
    }
}

#[tokio::test]
async fn test_response_includes_user_id() {
    let (_app, answer) = registered().await;
    let body = answer.expect_json(201);
    let text = body["data"]["userId"].as_str().unwrap();
    let id: Uuid = text.parse().unwrap();
    assert_eq!(id.get_version_num(), 4);
    assert_eq!(id.hyphenated().to_string(), text, "lower case, with hyphens");
}

#[tokio::test]
async fn test_response_includes_created_at() {
    let (app, answer) = registered().await;
    let body = answer.expect_json(201);
    let stored: String = app
        .db
        .value("SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') FROM users", &[])
        .await;
    assert_eq!(body["data"]["createdAt"], stored);
    let is_now: bool = app.db.value("SELECT now() - created_at < interval '1 minute' FROM users", &[]).await;
    assert!(is_now);
}

#[tokio::test]
async fn test_response_format_matches_spec() {
    let (_app, answer) = registered().await;
    let body = answer.expect_json(201);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&body), ["data", "message", "success"]);
    assert_eq!(keys(&body["data"]), ["createdAt", "email", "name", "userId"]);
    assert_eq!(answer.header("retry-after"), None);
}
