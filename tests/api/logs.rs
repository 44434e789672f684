//! The log: one line of JSON a request, and nothing in it that is somebody's.

use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::{Api, EMAIL, Home, NAME, PASSWORD, SECRET, TestDatabase, Wire};

/// Every line as JSON.
fn lines(stderr: &str) -> Vec<Value> {
    stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[tokio::test]
async fn every_request_is_one_line_of_json() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let service = home.serve_on(&db).ready().await;
    service.get("/").await;
    service.register_john().await;
    service.get("/api/users/me").await;
    service.get("/secret-path").await;
    let request = service.request("DELETE", "/").header("x-request-id", "my-own-id").body(Full::default()).unwrap();
    service.send(request).await;
    let exit = service.stop().await;
    let requests: Vec<_> = lines(&exit.stderr).into_iter().filter(|line| line["message"] == "request").collect();
    let told: Vec<_> = requests
        .iter()
        .map(|line| {
            (line["method"].as_str().unwrap(), line["route"].as_str().unwrap(), line["status"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("GET", "/", 200),
            ("POST", "/api/users/register", 201),
            ("GET", "/api/users/me", 403),
            ("GET", "unknown", 404),
            ("DELETE", "/", 405),
        ]
    );
    for line in &requests {
        assert_eq!(line["level"], "INFO");
        assert!(line["duration_us"].is_u64() && line["timestamp"].is_string(), "{line}");
        assert!(line["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{line}");
    }
    assert_eq!(requests[4]["request_id"], "my-own-id");
}

#[tokio::test]
async fn the_line_of_a_request_that_is_a_users_names_the_user() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let service = home.serve_on(&db).ready().await;
    service.register_john().await;
    service.me(&service.token().await).await.expect_json(200);
    service.login(EMAIL, "WrongPass123").await.expect_refusal(401, "invalid_credentials");
    let id = db.value::<uuid::Uuid>("SELECT user_id FROM users", &[]).await.to_string();
    let exit = service.stop().await;
    let requests: Vec<_> = lines(&exit.stderr).into_iter().filter(|line| line["message"] == "request").collect();
    let users: Vec<_> = requests.iter().map(|line| line["user_id"].as_str()).collect();
    assert_eq!(users, [Some(id.as_str()), Some(&id), Some(&id), None], "a wrong password does not tell whose it is");
}

#[tokio::test]
async fn what_the_process_holds_is_in_no_core_dump() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let service = home.serve_on(&db).ready().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", service.program.pid)).unwrap();
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().next(), Some("0"), "{limits}");
}

#[tokio::test]
async fn nothing_of_anybody_is_logged_by_default() {
    nothing_of_anybody_is_logged_with("ROLLCALL__TELEMETRY__LOG_FILTER", "").await;
}

#[tokio::test]
async fn nothing_of_anybody_is_logged_with_debug() {
    nothing_of_anybody_is_logged_with("DEBUG", "True").await;
}

#[tokio::test]
async fn nothing_of_anybody_is_logged_at_trace() {
    nothing_of_anybody_is_logged_with("ROLLCALL__TELEMETRY__LOG_FILTER", "trace").await;
}

#[tokio::test]
async fn nothing_of_anybody_is_logged_where_the_driver_is_asked_for_by_name() {
    let filter = "trace,tokio_postgres=trace,tokio_postgres::query=trace,h2=trace";
    nothing_of_anybody_is_logged_with("ROLLCALL__TELEMETRY__LOG_FILTER", filter).await;
}

/// Uses the whole API with this variable set, and looks in the log for everything that was used.
async fn nothing_of_anybody_is_logged_with(variable: &str, value: &str) {
    let (home, db) = (Home::new(), TestDatabase::empty().await);
    let service = home.serve_on(&db).env(variable, value).ready().await;
    service.register_john().await;
    service.register_email(EMAIL).await.expect_refusal(409, "email_taken");
    let over_http2 = Api::http2(service.addr);
    let token = over_http2.token().await;
    over_http2.me(&token).await.expect_json(200);
    for path in ["/", "/openapi.json", "/docs", "/redoc", "/.well-known/jwks.json"] {
        assert_eq!(service.get(path).await.status, 200, "{path}");
    }
    // The driver would log it with every lookup.
    let stored: String = db.value("SELECT password_hash FROM users", &[]).await;
    service.me(&token).await.expect_json(200);
    service.login(EMAIL, "WrongPass987").await;
    service.register(&json!({"name": "Mallory", "email": "mallory@@evil.example", "password": "short-pw"})).await;
    db.run("UPDATE users SET password_hash = 'Plain-Text-Hash'").await;
    service.login(EMAIL, PASSWORD).await.expect_refusal(401, "invalid_credentials");
    for request in [
        format!("GET /api/users/{EMAIL}?token={token} HTTP/1.1\r\nhost: {EMAIL}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: test\r\nx-request-id: {EMAIL}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: test\r\nx-request-id: {token}\r\n\r\n"),
        format!("{PASSWORD} / HTTP/1.1\r\nhost: test\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: test\r\nuser-agent: {EMAIL}\r\nx-forwarded-for: 203.0.113.7\r\n\r\n"),
        format!("GET /api/users/me HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {EMAIL}\r\n\r\n"),
        format!("GET /api/users/me HTTP/1.1\r\nhost: test\r\nauthorization: {PASSWORD}\r\n\r\n"),
        "GET / HTTP/1.1\r\nhost: test\r\nx-request-id: a\"b\\,\"level\":\"FAKE\r\n\r\n".to_owned(),
        format!("{EMAIL} is no request\r\n\r\n"),
    ] {
        let mut wire = Wire::open(service.addr).await;
        wire.send(request).await;
        wire.answer().await;
    }
    for body in [format!("{{\"email\":\"{EMAIL}"), format!("{{\"{EMAIL}\":1,\"{EMAIL}\":2}}"), PASSWORD.to_owned()] {
        service.post_bytes("/api/users/login", body).await;
    }
    // A statement that fails is logged with its cause.
    db.run("ALTER TABLE users ADD CONSTRAINT no_roe CHECK (name <> 'Jane Roe')").await;
    let jane = service.register(&json!({"name": "Jane Roe", "email": "jane@example.com", "password": PASSWORD})).await;
    assert_eq!(jane.status, 503, "{jane:?}");

    let exit = service.stop().await;
    assert!(lines(&exit.stderr).len() > 15);
    let text = exit.stderr.to_lowercase();
    let signature = token.rsplit('.').next().unwrap();
    for private in [
        EMAIL,
        "john.doe",
        "jane",
        PASSWORD,
        "WrongPass",
        "short-pw",
        "mallory",
        "Plain-Text-Hash",
        "$2b$",
        &stored,
        NAME,
        SECRET,
        &token,
        signature,
        "203.0.113.7",
        "secret",
        "FAKE",
    ] {
        assert!(!text.contains(&private.to_lowercase()), "{private} in {}", exit.stderr);
    }
    // What a reader would take for a path of the machine that the program was built on, or for Rust.
    for noise in ["NOTICE", "log.file", "/src/", "Migrated {", "Some("] {
        assert!(!exit.stderr.contains(noise), "{noise} in {}", exit.stderr);
    }
    let requests = exit.stderr.lines().filter(|line| line.contains("request_id"));
    assert!(requests.clone().count() > 15);
    for line in requests {
        assert!(!line.contains("127.0.0.1"), "no client's address in {line}");
    }
}

#[tokio::test]
async fn text_is_written_where_it_is_asked_for() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let service = home.serve_on(&db).env("ROLLCALL__TELEMETRY__LOG_FORMAT", "text").ready().await;
    service.get("/").await.expect_json(200);
    let exit = service.stop().await;
    let line = exit.stderr.lines().find(|line| line.contains("request")).unwrap();
    assert!(line.contains("INFO") && line.contains("status=200") && !line.starts_with('{'), "{line}");
    assert!(!exit.stderr.contains('\u{1b}'), "no colours without a terminal");
}

#[tokio::test]
async fn standard_output_has_one_line_only() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let service = home.serve_on(&db).ready().await;
    let addr = service.addr;
    service.get("/").await.expect_json(200);
    assert_eq!(service.stop().await.stdout, format!("listening on http://{addr}\n"));
}
