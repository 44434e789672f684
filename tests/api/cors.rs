//! Whose pages may read the answers, and what every answer tells browsers.

use http_body_util::Full;

use crate::harness::api::john;
use crate::harness::{Answer, EMAIL, Home, PASSWORD, TestApp, Wire};

const PAGE: &str = "https://app.example.com";
const OTHER: &str = "http://localhost:3000";
const LOGIN: &str = "/api/users/login";
const ME: &str = "/api/users/me";

async fn ask(app: &TestApp, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = app.request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.send(request.body(Full::default()).unwrap()).await
}

fn cors_headers(answer: &Answer) -> Vec<&str> {
    let is_cors = |name: &&str| name.starts_with("access-control-") || *name == "vary";
    answer.headers.keys().map(hyper::header::HeaderName::as_str).filter(is_cors).collect()
}

async fn sharing() -> TestApp {
    TestApp::with(&[("cors.allowed_origins", &format!("{PAGE}, {OTHER}")), ("cors.max_age_s", "60")]).await
}

#[tokio::test]
async fn without_configuration_there_is_no_sharing() {
    let app = TestApp::start().await;
    let preflight = [("origin", PAGE), ("access-control-request-method", "POST")];
    for (method, path) in [("GET", "/"), ("OPTIONS", LOGIN), ("GET", "/nowhere"), ("GET", ME)] {
        let answer = ask(&app, method, path, &preflight).await;
        assert_eq!(cors_headers(&answer), [""; 0], "{answer:?}");
    }
    let answer = ask(&app, "OPTIONS", LOGIN, &preflight).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (204, Some("POST, OPTIONS")));
}

#[tokio::test]
async fn a_preflight_of_an_allowed_page_is_told_what_it_may_send() {
    let app = sharing().await;
    for (path, methods) in [(LOGIN, "POST, OPTIONS"), (ME, "GET, HEAD, OPTIONS"), ("/", "GET, HEAD, OPTIONS")] {
        let wish = ("access-control-request-headers", "authorization,content-type");
        let answer =
            ask(&app, "OPTIONS", path, &[("origin", OTHER), ("access-control-request-method", "GET"), wish]).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(OTHER));
        assert_eq!(answer.header("access-control-allow-methods"), Some(methods));
        let allowed = answer.header("access-control-allow-headers").unwrap();
        assert!(allowed.contains("authorization") && allowed.contains("content-type"), "{allowed}");
        assert_eq!(answer.header("access-control-max-age"), Some("60"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.header("vary"), Some("origin"));
        assert_eq!(answer.header("allow"), Some(methods));
    }
}

#[tokio::test]
async fn every_answer_to_an_allowed_page_can_be_read_refusals_included() {
    let app = sharing().await;
    app.register_john().await;
    let json = ("content-type", "application/json");
    let mut answers = Vec::new();
    for (method, path, body, status) in [
        ("GET", "/", String::new(), 200),
        ("POST", LOGIN, format!(r#"{{"email":"{EMAIL}","password":"{PASSWORD}"}}"#), 200),
        ("POST", LOGIN, format!(r#"{{"email":"{EMAIL}","password":"wrong"}}"#), 401),
        ("POST", LOGIN, " ".repeat(70_000), 413),
        ("POST", LOGIN, "{".to_owned(), 400),
        ("POST", "/api/users/register", john().to_string(), 409),
        ("GET", ME, String::new(), 403),
        ("PUT", ME, String::new(), 405),
        ("GET", "/nowhere", String::new(), 404),
    ] {
        let request = app.request(method, path).header("origin", PAGE).header(json.0, json.1);
        let answer = app.send(request.body(Full::from(body)).unwrap()).await;
        assert_eq!(answer.status, status, "{answer:?}");
        answers.push(answer);
    }
    app.db.fail().await;
    answers.push(ask(&app, "GET", ME, &[("origin", PAGE), ("authorization", "Bearer x")]).await);
    for answer in answers {
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{answer:?}");
        let exposed = answer.header("access-control-expose-headers").unwrap();
        for name in ["x-request-id", "retry-after", "ratelimit", "ratelimit-policy"] {
            assert!(exposed.split(", ").any(|exposed| exposed == name), "{name} in {exposed}");
        }
        assert_eq!(answer.header("vary"), Some("origin"));
    }
}

#[tokio::test]
async fn a_refusal_by_a_limit_can_be_read_too() {
    let app = TestApp::with(&[
        ("cors.allowed_origins", PAGE),
        ("limits.profile_per_second", "1"),
        ("limits.profile_burst", "1"),
    ])
    .await;
    let refused = loop {
        let answer = ask(&app, "GET", ME, &[("origin", PAGE)]).await;
        if answer.status == 429 {
            break answer;
        }
    };
    assert_eq!(refused.header("access-control-allow-origin"), Some(PAGE));
    // Preflights are not counted as what they ask leave for.
    let answer = ask(&app, "OPTIONS", ME, &[("origin", PAGE), ("access-control-request-method", "GET")]).await;
    assert_eq!(answer.status, 204);
}

#[tokio::test]
async fn other_pages_are_told_nothing_however_alike_their_names() {
    let app = sharing().await;
    for origin in [
        "https://app.example.com.evil.example",
        "https://evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com/",
        "https://APP.example.com",
        "https://xapp.example.com",
        "null",
        "*",
        "",
        "https://app.example.com, http://localhost:3000",
    ] {
        for headers in [&[("origin", origin)][..], &[("origin", origin), ("access-control-request-method", "GET")]] {
            for method in ["GET", "OPTIONS"] {
                let answer = ask(&app, method, "/", headers).await;
                assert_eq!(cors_headers(&answer), ["vary"], "{origin} {answer:?}");
                assert_eq!(answer.header("vary"), Some("origin"));
            }
        }
    }
    assert_eq!(cors_headers(&ask(&app, "GET", "/", &[]).await), ["vary"], "so that caches keep the answers apart");
}

#[tokio::test]
async fn all_pages_may_be_allowed() {
    let app = TestApp::with(&[("cors.allowed_origins", "*")]).await;
    let answer = ask(&app, "GET", "/", &[("origin", "https://anybody.example")]).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let answer = ask(&app, "OPTIONS", ME, &[("origin", PAGE), ("access-control-request-method", "GET")]).await;
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD, OPTIONS"));
    // An answer may be kept, and given to a page that asks for it later.
    let answer = ask(&app, "GET", "/", &[]).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test]
async fn origins_that_no_browser_sends_are_errors() {
    let home = Home::new();
    for (value, words) in [
        ("app.example.com", "has no scheme"),
        ("https://app.example.com/", "without a slash"),
        ("https://App.example.com", "lower case"),
        ("https://*.example.com", "no valid host"),
        ("https://app.example.com:443", "leave out the port"),
        ("null", "has no scheme"),
        ("*, https://app.example.com", "* alone"),
    ] {
        let exit = home.serve().env("ROLLCALL__CORS__ALLOWED_ORIGINS", value).run().await;
        exit.expect_failure(&["cors.allowed_origins", "ROLLCALL__CORS__ALLOWED_ORIGINS in the environment", words]);
    }
}

fn expect_protected(answer: &Answer) {
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
    assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{answer:?}");
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{answer:?}");
    assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"), "{answer:?}");
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'"), "{answer:?}");
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let app = TestApp::start().await;
    app.register_john().await;
    let token = app.token().await;
    for (method, path) in [
        ("GET", "/"),
        ("HEAD", "/"),
        ("OPTIONS", LOGIN),
        ("GET", "/nowhere"),
        ("PUT", ME),
        ("GET", ME),
        ("POST", LOGIN),
        ("GET", "/openapi.json"),
    ] {
        let answer = ask(&app, method, path, &[]).await;
        expect_protected(&answer);
        assert_eq!(answer.header("content-security-policy"), Some("default-src 'none'; frame-ancestors 'none'"));
    }
    expect_protected(&app.me(&token).await);
    for path in ["/docs", "/docs/swagger-ui.css", "/redoc", "/redoc/redoc.js"] {
        let answer = app.get(path).await;
        expect_protected(&answer);
        assert!(answer.header("content-security-policy").unwrap().contains("default-src 'self'"), "{path}");
    }
    for path in ["/metrics", "/livez", "/nowhere"] {
        expect_protected(&app.admin().get(path).await);
    }
    for bytes in ["garbage\r\n\r\n", "GET / HTTP/1.1\r\nbad header\r\n\r\n"] {
        let mut wire = Wire::open(app.addr).await;
        wire.send(bytes).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, 400);
        expect_protected(&answer);
    }
}

#[tokio::test]
async fn what_is_about_a_person_is_never_stored() {
    let app = TestApp::start().await;
    let stored = |answer: &Answer| answer.header("cache-control") != Some("no-store");
    assert!(!stored(&app.register(&john()).await));
    assert!(!stored(&app.register(&john()).await), "a refusal");
    assert!(!stored(&app.login(EMAIL, PASSWORD).await));
    assert!(!stored(&app.login(EMAIL, "wrong").await), "a refusal");
    assert!(!stored(&app.me(&app.token().await).await));
    assert!(!stored(&app.me("x").await), "a refusal");
    assert!(!stored(&ask(&app, "PUT", ME, &[]).await));
    assert!(stored(&app.get("/docs/swagger-ui.css").await), "the documents are for all");
}
