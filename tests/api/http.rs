//! HTTP itself: methods, bodies, ids, connections, and refusals in one form whoever makes them.

use http_body_util::Full;
use hyper::Version;
use rollcall::http::body::MAX_VALUES;
use serde_json::json;

use crate::harness::api::john;
use crate::harness::{Answer, Api, EMAIL, TestApp, Wire, join_all, soon, until};
use crate::metrics::sample;

const REGISTER: &str = "/api/users/register";
const LOGIN: &str = "/api/users/login";
const ME: &str = "/api/users/me";

/// A request without a body.
async fn ask(app: &Api, method: &str, path: &str) -> Answer {
    app.send(app.request(method, path).body(Full::default()).unwrap()).await
}

/// A POST whose body is declared as `content_type`.
async fn declare(app: &Api, content_type: Option<&str>) -> Answer {
    let mut request = app.request("POST", REGISTER);
    if let Some(value) = content_type {
        request = request.header("content-type", value);
    }
    app.send(request.body(Full::from(john().to_string())).unwrap()).await
}

/// The head of a POST of JSON over a bare connection, up to its length.
fn post_head(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n")
}

fn post(path: &str, body: &str) -> String {
    format!("{}\r\n{body}", post_head(path, body.len()))
}

/// What comes back for bytes that are no request, to the end of the connection.
async fn refused_by_hyper(bytes: &[u8], status: u16, code: &str) {
    let app = TestApp::start().await;
    let mut wire = Wire::open(app.addr).await;
    wire.send(bytes).await;
    let answer = wire.answer().await;
    answer.expect_refusal(status, code);
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    assert_eq!(wire.closed().await, b"", "one answer, then the end");
    assert_eq!(app.get("/").await.status, 200);
}

#[tokio::test]
async fn the_root_tells_that_the_service_runs() {
    let app = TestApp::start().await;
    let body = app.get("/").await.expect_json(200);
    assert_eq!(
        body,
        json!({"status": "ok", "message": "User Management API is running", "version": env!("CARGO_PKG_VERSION")})
    );
}

#[tokio::test]
async fn paths_that_do_not_exist_are_404() {
    let app = TestApp::start().await;
    for path in ["/api", "/api/users", "/api/users/me/", "/API/users/me", "/nowhere", "//", "/docs/a/b", "/%00"] {
        for method in ["GET", "POST", "OPTIONS", "DELETE"] {
            ask(&app, method, path).await.expect_refusal(404, "not_found");
        }
    }
}

#[tokio::test]
async fn a_query_does_not_change_the_path() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/?verbose=1").await.status, 200);
    app.get("/api/users/me?token=x").await.expect_refusal(403, "not_authenticated");
}

#[tokio::test]
async fn methods_that_a_path_does_not_take_are_405_and_name_those_it_takes() {
    let app = TestApp::start().await;
    for (path, methods, allow) in [
        (REGISTER, ["GET", "HEAD", "PUT", "PATCH", "DELETE"], "POST, OPTIONS"),
        (LOGIN, ["GET", "HEAD", "PUT", "TRACE", "DELETE"], "POST, OPTIONS"),
        (ME, ["POST", "PUT", "PATCH", "DELETE", "BREW"], "GET, HEAD, OPTIONS"),
        ("/", ["POST", "PUT", "PATCH", "DELETE", "get"], "GET, HEAD, OPTIONS"),
        ("/docs", ["POST", "PUT", "PATCH", "DELETE", "PURGE"], "GET, HEAD, OPTIONS"),
    ] {
        for method in methods {
            let answer = ask(&app, method, path).await;
            assert_eq!(answer.header("allow"), Some(allow), "{method} {path}: {answer:?}");
            if method != "HEAD" {
                answer.expect_refusal(405, "method_not_allowed");
            }
            assert_eq!(answer.status, 405);
        }
    }
}

#[tokio::test]
async fn head_answers_as_get_does_but_without_a_body() {
    let app = TestApp::start().await;
    app.register_john().await;
    let token = app.token().await;
    for path in ["/", ME, "/openapi.json", "/docs", "/redoc"] {
        let request = |method| app.request(method, path).header("authorization", format!("Bearer {token}"));
        let get = app.send(request("GET").body(Full::default()).unwrap()).await;
        let mut wire = Wire::open(app.addr).await;
        let head =
            format!("HEAD {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
        wire.send(head).await;
        let head = wire.answer_to("HEAD").await;
        assert_eq!(head.status, 200, "{path}");
        for name in ["content-type", "content-length", "content-security-policy"] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
        assert!(head.header("x-request-id").is_some());
        assert_eq!(wire.closed().await, b"", "{path}");
    }
}

#[tokio::test]
async fn options_names_the_methods_of_a_path() {
    let app = TestApp::start().await;
    for (path, allow) in
        [("/", "GET, HEAD, OPTIONS"), (REGISTER, "POST, OPTIONS"), (LOGIN, "POST, OPTIONS"), (ME, "GET, HEAD, OPTIONS")]
    {
        let answer = ask(&app, "OPTIONS", path).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        assert_eq!(answer.header("allow"), Some(allow));
        assert!(answer.header("x-request-id").is_some());
        assert_eq!(answer.header("content-length"), None);
        assert!(answer.body.is_empty());
    }
}

#[tokio::test]
async fn bodies_that_are_not_declared_as_json_are_415() {
    let app = TestApp::start().await;
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/jsonp"),
        Some("multipart/form-data; boundary=json"),
        Some("application/json-seq"),
    ] {
        declare(&app, content_type).await.expect_refusal(415, "unsupported_media_type");
    }
    assert_eq!(app.db.users().await, 0);
}

#[tokio::test]
async fn a_media_type_may_have_parameters_and_any_case() {
    let app = TestApp::start().await;
    declare(&app, Some("Application/JSON; charset=utf-8")).await.expect_json(201);
    declare(&app, Some("application/json;charset=UTF-8")).await.expect_refusal(409, "email_taken");
}

#[tokio::test]
async fn a_body_may_be_as_long_as_the_limit_and_no_longer() {
    let app = TestApp::start().await;
    let text = john().to_string();
    let padded = |length: usize| format!("{text}{}", " ".repeat(length - text.len()));
    app.post_bytes(REGISTER, padded(65_536)).await.expect_json(201);
    app.post_bytes(REGISTER, padded(65_536)).await.expect_refusal(409, "email_taken");
    app.post_bytes(REGISTER, padded(65_537)).await.expect_refusal(413, "payload_too_large");
    app.post_bytes(LOGIN, padded(1 << 20)).await.expect_refusal(413, "payload_too_large");
}

#[tokio::test]
async fn a_body_may_have_a_thousand_values_and_no_more() {
    let app = TestApp::start().await;
    // The object, its three fields and the array.
    let with_items = |items: usize| {
        let mut body = john();
        body["other"] = vec![0; items].into();
        body.to_string()
    };
    app.post_bytes(REGISTER, with_items(995)).await.expect_json(201);
    let refused = app.post_bytes(REGISTER, with_items(996)).await;
    refused.expect_refusal(413, "too_many_values");
    assert!(refused.expect_json(413)["message"].as_str().unwrap().contains(&MAX_VALUES.to_string()));
    app.post_bytes(LOGIN, with_items(996)).await.expect_refusal(413, "too_many_values");
}

#[tokio::test]
async fn a_chunked_body_counts_against_the_limit_too() {
    let app = TestApp::with(&[("server.body_max_bytes", "1024")]).await;
    let mut wire = Wire::open(app.addr).await;
    wire.send(format!(
        "POST {REGISTER} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    ))
    .await;
    let chunk = format!("200\r\n{}\r\n", " ".repeat(512));
    wire.send(chunk.repeat(3) + "0\r\n\r\n").await;
    wire.answer().await.expect_refusal(413, "payload_too_large");
}

#[tokio::test]
async fn a_chunked_body_is_read_as_any_other() {
    let app = TestApp::start().await;
    let mut wire = Wire::open(app.addr).await;
    wire.send(format!(
        "POST {REGISTER} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    ))
    .await;
    for piece in john().to_string().as_bytes().chunks(7) {
        wire.send(format!("{:x}\r\n", piece.len())).await;
        wire.send(piece).await;
        wire.send("\r\n").await;
    }
    wire.send("0\r\n\r\n").await;
    wire.answer().await.expect_json(201);
}

#[tokio::test]
async fn a_request_in_chunks_is_the_last_of_its_connection() {
    let app = TestApp::start().await;
    let next = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    for lengths in ["", "content-length: 5\r\n", "content-length: 200\r\n"] {
        for (before, after) in [(lengths, ""), ("", lengths)] {
            let mut wire = Wire::open(app.addr).await;
            let head = format!("POST {LOGIN} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n");
            wire.send(format!("{head}{before}transfer-encoding: chunked\r\n{after}\r\n2\r\n{{}}\r\n0\r\n\r\n{next}"))
                .await;
            let answer = wire.answer().await;
            answer.expect_refusal(400, "missing_credentials");
            assert_eq!(answer.header("connection"), Some("close"));
            assert_eq!(wire.closed().await, b"", "{before}{after}");
        }
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_never_taken_for_a_whole_one() {
    let app = TestApp::start().await;
    let (admin, text) = (app.admin(), john().to_string());
    let short = format!("{}\r\n{text}", post_head(REGISTER, text.len() + 1));
    // A client that says that nothing more comes, and waits for what is said to that.
    let mut wire = Wire::open(app.addr).await;
    wire.send(&short).await;
    wire.finish().await;
    wire.answer().await.expect_refusal(400, "incomplete_body");
    assert_eq!(wire.closed().await, b"");
    // One that goes, whose request has been read when its connection is no more.
    let connections = async || sample(&admin, "rollcall_http_connections").await;
    until("no connection", async || connections().await == 0).await;
    let mut wire = Wire::open(app.addr).await;
    wire.send(&short).await;
    until("a connection", async || connections().await == 1).await;
    drop(wire);
    until("the end of the connection", async || connections().await == 0).await;
    assert_eq!(app.db.users().await, 0);
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_408_and_ends_the_connection() {
    let app = TestApp::with(&[("server.body_timeout_ms", "50")]).await;
    let mut wire = Wire::open(app.addr).await;
    wire.send(format!("{}\r\n{{\"name\":", post_head(REGISTER, 100))).await;
    let answer = wire.answer().await;
    answer.expect_refusal(408, "request_timeout");
    assert_eq!(answer.header("connection"), Some("close"));
    wire.closed().await;
}

#[tokio::test]
async fn clients_that_send_no_request_are_disconnected() {
    let app = TestApp::with(&[("server.header_timeout_ms", "50")]).await;
    for beginning in ["", "G", "GET / HTTP/1.1\r\nhost: te", "PRI * HTTP/2.0\r\n"] {
        let mut wire = Wire::open(app.addr).await;
        wire.send(beginning).await;
        wire.closed().await;
    }
    let mut idle = Wire::open(app.addr).await;
    idle.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    idle.answer().await.expect_json(200);
    assert_eq!(idle.closed().await, b"", "an idle connection ends without words");
}

#[tokio::test]
async fn a_clients_request_id_comes_back() {
    let app = TestApp::start().await;
    for id in ["abc-123_X.9", "550e8400-e29b-41d4-a716-446655440000", &"a".repeat(64)] {
        for path in ["/", "/nowhere", ME, REGISTER] {
            let answer =
                app.send(app.request("GET", path).header("x-request-id", id).body(Full::default()).unwrap()).await;
            assert_eq!(answer.header("x-request-id"), Some(id), "{path}");
        }
    }
}

#[tokio::test]
async fn request_ids_are_made_where_the_client_has_none_that_is_plain() {
    let app = TestApp::start().await;
    let mut seen = std::collections::HashSet::new();
    for id in
        [None, Some(""), Some("a b"), Some("john@example.com"), Some("{}"), Some(&*"a".repeat(65)), Some("\u{e9}")]
    {
        let mut request = app.request("GET", "/");
        if let Some(id) = id {
            request = request.header("x-request-id", id.as_bytes());
        }
        let answer = app.send(request.body(Full::default()).unwrap()).await;
        let made = answer.header("x-request-id").unwrap().to_owned();
        assert_ne!(Some(made.as_str()), id);
        assert!(seen.insert(made), "every id is new");
    }
}

#[tokio::test]
async fn every_refusal_carries_a_request_id() {
    let app = TestApp::with(&[("server.body_timeout_ms", "50"), ("server.body_max_bytes", "1024")]).await;
    let json = "content-type: application/json";
    for (request, status) in [
        ("GET /nowhere HTTP/1.1\r\nhost: test\r\n\r\n".to_owned(), 404),
        (format!("DELETE {ME} HTTP/1.1\r\nhost: test\r\n\r\n"), 405),
        (format!("GET {ME} HTTP/1.1\r\nhost: test\r\n\r\n"), 403),
        (format!("GET {ME} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer x\r\n\r\n"), 401),
        (format!("POST {LOGIN} HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{{}}"), 415),
        (post(LOGIN, "{"), 400),
        (post(REGISTER, "{}"), 422),
        (post(REGISTER, &" ".repeat(1025)), 413),
        (format!("POST {LOGIN} HTTP/1.1\r\nhost: test\r\n{json}\r\ncontent-length: 9\r\n\r\n"), 408),
    ] {
        let mut wire = Wire::open(app.addr).await;
        wire.send(request).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_refused_in_the_services_words() {
    refused_by_hyper(b"GET / HTTP/1.1\r\nhost test\r\n\r\n", 400, "malformed_request").await;
}

#[tokio::test]
async fn what_is_not_even_text_is_refused_in_the_services_words() {
    refused_by_hyper(b"\x00\xff\x16\x03\x01 garbage\r\n\r\n", 400, "malformed_request").await;
}

#[tokio::test]
async fn two_lengths_of_one_body_are_refused() {
    let request = format!("POST {LOGIN} HTTP/1.1\r\nhost: t\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{{}}");
    refused_by_hyper(request.as_bytes(), 400, "malformed_request").await;
}

#[tokio::test]
async fn a_length_that_is_no_number_is_refused() {
    let request = format!("POST {LOGIN} HTTP/1.1\r\nhost: t\r\ncontent-length: +2\r\n\r\n{{}}");
    refused_by_hyper(request.as_bytes(), 400, "malformed_request").await;
}

#[tokio::test]
async fn headers_over_the_limit_are_431() {
    let request = format!("GET / HTTP/1.1\r\nhost: test\r\nx-filler: {}\r\n\r\n", "a".repeat(20_000));
    refused_by_hyper(request.as_bytes(), 431, "headers_too_large").await;
}

#[tokio::test]
async fn more_headers_than_a_request_may_have_are_431() {
    let request = format!("GET / HTTP/1.1\r\nhost: test\r\n{}\r\n", "a: b\r\n".repeat(200));
    refused_by_hyper(request.as_bytes(), 431, "headers_too_large").await;
}

#[tokio::test]
async fn a_refusal_comes_as_a_problem_to_those_who_accept_it() {
    let app = TestApp::start().await;
    let send = async |accept: &str, body: &str| {
        let request = app.request("POST", REGISTER).header("content-type", "application/json").header("accept", accept);
        app.send(request.body(Full::from(body.to_owned())).unwrap()).await
    };
    let answer = send("application/problem+json", r#"{"email": "a@example.com", "password": "SecurePass123"}"#).await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert!(answer.header("x-request-id").is_some());
    let expected = json!({
        "type": "about:blank",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "Validation failed",
        "code": "validation_failed",
        "details": [{"field": "name", "message": "is required"}],
    });
    assert_eq!(answer.json(), expected);
    for accept in ["application/json", "*/*", "text/html"] {
        send(accept, "{}").await.expect_refusal(422, "validation_failed");
    }
}

#[tokio::test]
async fn problems_carry_the_same_headers_as_other_refusals() {
    let app = TestApp::start().await;
    let send = async |method: &str, path: &str, authorization: &str| {
        let request = app.request(method, path).header("accept", "application/problem+json");
        app.send(request.header("authorization", authorization).body(Full::default()).unwrap()).await
    };
    let not_allowed = send("DELETE", ME, "").await;
    assert_eq!(not_allowed.header("allow"), Some("GET, HEAD, OPTIONS"));
    assert_eq!(not_allowed.json()["status"], 405);
    let bad_token = send("GET", ME, "Bearer x").await;
    assert_eq!(bad_token.header("www-authenticate"), Some("Bearer"));
    let expected = json!({
        "type": "about:blank", "title": "Unauthorized", "status": 401,
        "detail": "Invalid or expired token", "code": "invalid_token",
    });
    assert_eq!(bad_token.json(), expected);
    assert_eq!(send("GET", "/nowhere", "").await.json()["title"], "Not Found");
}

#[tokio::test]
async fn a_success_is_never_a_problem() {
    let app = TestApp::start().await;
    let request = app.request("GET", "/").header("accept", "application/problem+json").body(Full::default()).unwrap();
    app.send(request).await.expect_json(200);
}

#[tokio::test]
async fn http2_is_spoken_with_those_who_begin_with_it() {
    let app = TestApp::start().await;
    let client = Api::http2(app.addr);
    client.register(&john()).await.expect_json(201);
    client.register(&john()).await.expect_refusal(409, "email_taken");
    let token = client.token().await;
    client.me(&token).await.expect_json(200);
    ask(&client, "DELETE", ME).await.expect_refusal(405, "method_not_allowed");
    let many = (0..50).map(|_| client.get("/"));
    for answer in soon("all answers", join_all(many)).await {
        answer.expect_json(200);
    }
}

#[tokio::test]
async fn http2_headers_over_the_limit_are_431_with_a_request_id() {
    let app = TestApp::start().await;
    let client = Api::http2(app.addr);
    let request = client.request("GET", "/").header("x-filler", "a".repeat(20_000)).body(Full::default()).unwrap();
    client.send(request).await.expect_refusal(431, "headers_too_large");
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_it_and_then_the_answer() {
    let app = TestApp::start().await;
    let body = john().to_string();
    let mut wire = Wire::open(app.addr).await;
    wire.send(format!("{}expect: 100-continue\r\n\r\n", post_head(REGISTER, body.len()))).await;
    assert_eq!(wire.answer().await.status, 100);
    wire.send(body).await;
    wire.answer().await.expect_json(201);
}

#[tokio::test]
async fn a_refusal_that_needs_no_body_comes_instead_of_100_continue() {
    let app = TestApp::start().await;
    let mut wire = Wire::open(app.addr).await;
    wire.send("POST /nowhere HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n").await;
    wire.answer().await.expect_refusal(404, "not_found");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let app = TestApp::start().await;
    let mut wire = Wire::open(app.addr).await;
    let ids: Vec<_> = (0..20).map(|n| format!("request-{n}")).collect();
    let body = john().to_string();
    let mut requests = String::new();
    for (n, id) in ids.iter().enumerate() {
        // A slow request first: those after it must wait for it.
        let is_slow = n % 5 == 0;
        requests +=
            &if is_slow { post_head(REGISTER, body.len()) } else { "GET / HTTP/1.1\r\nhost: test\r\n".to_owned() };
        requests += "x-request-id: ";
        requests += id;
        requests += "\r\n\r\n";
        requests += if is_slow { &body } else { "" };
    }
    wire.send(requests).await;
    for (n, id) in ids.iter().enumerate() {
        let answer = wire.answer().await;
        assert_eq!(answer.header("x-request-id"), Some(id.as_str()));
        assert_eq!(
            answer.status,
            if n == 0 {
                201
            } else if n % 5 == 0 {
                409
            } else {
                200
            }
        );
    }
}

#[tokio::test]
async fn a_connection_is_kept_after_refusals() {
    let app = TestApp::start().await;
    let mut wire = Wire::open(app.addr).await;
    for (request, status) in [
        ("GET /nowhere HTTP/1.1\r\nhost: test\r\n\r\n".to_owned(), 404),
        (post(REGISTER, "{"), 400),
        (post(REGISTER, "{}"), 422),
        (post(ME, "{}"), 405),
        (post("/nowhere", "{}"), 404),
        (format!("POST {LOGIN} HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{{}}"), 415),
        ("GET / HTTP/1.1\r\nhost: test\r\n\r\n".to_owned(), 200),
    ] {
        wire.send(request).await;
        assert_eq!(wire.answer().await.status, status);
    }
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let app = TestApp::start().await;
    let mut wire = Wire::open(app.addr).await;
    wire.send("GET / HTTP/1.0\r\n\r\n").await;
    wire.answer().await.expect_json(200);
    assert_eq!(wire.closed().await, b"");
}

#[tokio::test]
async fn a_client_that_asks_for_it_is_disconnected_after_its_answer() {
    let app = TestApp::start().await;
    let mut wire = Wire::open(app.addr).await;
    wire.send("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await;
    wire.answer().await.expect_json(200);
    assert_eq!(wire.closed().await, b"");
}

#[tokio::test]
async fn a_client_that_leaves_takes_nothing_with_it() {
    let app = TestApp::start().await;
    for _ in 0..20 {
        let mut wire = Wire::open(app.addr).await;
        wire.send(post(REGISTER, &john().to_string())).await;
    }
    app.get("/").await.expect_json(200);
    app.register_email("other@example.com").await.expect_json(201);
    app.login("other@example.com", crate::harness::PASSWORD).await.expect_json(200);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let app = TestApp::with(&[("server.max_connections", "1")]).await;
    let mut first = Wire::open(app.addr).await;
    first.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    first.answer().await.expect_json(200);
    let mut second = Wire::open(app.addr).await;
    second.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    drop(first);
    second.answer().await.expect_json(200);
}

#[tokio::test]
async fn answers_are_of_the_version_that_was_asked_in() {
    let app = TestApp::start().await;
    let client = Api::http2(app.addr);
    let request = client.request("GET", "/").version(Version::HTTP_2).body(Full::default()).unwrap();
    let answer = client.send(request).await;
    assert_eq!(answer.header("connection"), None, "HTTP/2 knows no such header");
    answer.expect_json(200);
}

#[tokio::test]
async fn a_request_that_does_not_say_its_one_host_is_refused() {
    let app = TestApp::start().await;
    for head in [
        "",
        "host: a\r\nhost: b\r\n",
        "host: a\r\nhost: a\r\n",
        "host: a b\r\n",
        "host: u@a\r\n",
        "host: a/b\r\n",
        "host: test\r\ntransfer-encoding: gzip, chunked\r\n",
        "host: test\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    ] {
        let mut wire = Wire::open(app.addr).await;
        wire.send(format!("GET / HTTP/1.1\r\n{head}\r\n")).await;
        wire.answer().await.expect_refusal(400, "malformed_request");
        assert_eq!(wire.closed().await, b"", "{head:?}");
    }
    for head in ["host: \r\n", "host: [::1]:8000\r\n", "host: a.example:80\r\n"] {
        let mut wire = Wire::open(app.addr).await;
        wire.send(format!("GET / HTTP/1.1\r\n{head}\r\n")).await;
        wire.answer().await.expect_json(200);
    }
    let mut wire = Wire::open(app.addr).await;
    wire.send("GET / HTTP/1.0\r\n\r\n").await;
    wire.answer().await.expect_json(200);
}

/// A write that ends within a body leaves a rest that may begin with anything.
#[tokio::test]
async fn an_answer_that_quotes_a_refusal_of_the_server_arrives_whole() {
    let app = TestApp::start().await;
    let name = "HTTP/1.1 400 ".repeat(7).trim_end().to_owned();
    let body = json!({"name": name, "email": EMAIL, "password": crate::harness::PASSWORD});
    app.register(&body).await.expect_json(201);
    let token = app.token().await;
    let request = format!("GET /api/users/me HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {token}\r\n\r\n");
    for _ in 0..4 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut wire = Wire::over(socket.connect(app.addr).await.unwrap());
        // Far more than the system takes before somebody reads.
        wire.send(request.repeat(700)).await;
        for _ in 0..700 {
            assert_eq!(wire.answer().await.expect_json(200)["data"]["name"], name.as_str());
        }
    }
}
