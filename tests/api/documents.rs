//! The documents: OpenAPI, Swagger UI and ReDoc. What they say is true, and they need nothing from elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use http_body_util::Full;
use rollcall::http::body::MAX_VALUES;
use serde_json::{Value, json};

use crate::harness::api::{john, john_but};
use crate::harness::{Answer, Home, TestApp, Wire};

const REGISTER: &str = "/api/users/register";
const LOGIN: &str = "/api/users/login";
const ME: &str = "/api/users/me";
const JWKS: &str = "/.well-known/jwks.json";

/// Resolves a part of the document that is only named.
fn resolve<'a>(document: &'a Value, part: &'a Value) -> &'a Value {
    match part["$ref"].as_str() {
        Some(pointer) => document.pointer(pointer.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{pointer}")),
        None => part,
    }
}

/// Every example of `path` and `method` by media type, status and code.
fn examples(document: &Value, path: &str, method: &str) -> BTreeMap<(String, String, String), Value> {
    let mut found = BTreeMap::new();
    for (status, response) in document["paths"][path][method]["responses"].as_object().unwrap() {
        for (media, content) in resolve(document, response)["content"].as_object().into_iter().flatten() {
            for (code, example) in content["examples"].as_object().into_iter().flatten() {
                found.insert((media.clone(), status.clone(), code.clone()), example["value"].clone());
            }
        }
    }
    found
}

async fn document(app: &TestApp) -> Value {
    app.get("/openapi.json").await.expect_json(200)
}

#[tokio::test]
async fn the_document_is_openapi_3_1_with_every_endpoint() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    assert_eq!(document["info"]["title"], "User Management API");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let endpoints: Vec<_> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| format!("{method} {path}")))
        .collect();
    for endpoint in [
        "get /",
        "get /.well-known/jwks.json",
        "post /api/users/register",
        "post /api/users/login",
        "get /api/users/me",
    ] {
        assert!(endpoints.iter().any(|found| found == endpoint), "{endpoint} in {endpoints:?}");
    }
    assert_eq!(document["paths"][ME]["get"]["security"], json!([{"bearer": []}]));
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
}

#[tokio::test]
async fn every_status_that_an_endpoint_answers_with_is_described() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    for (path, method, statuses) in [
        ("/", "get", &["200", "429", "503"][..]),
        (JWKS, "get", &["200", "304", "429", "503"]),
        (REGISTER, "post", &["201", "400", "408", "409", "413", "415", "422", "429", "500", "503"]),
        (LOGIN, "post", &["200", "400", "401", "408", "413", "415", "422", "429", "500", "503"]),
        (ME, "get", &["200", "401", "403", "429", "500", "503"]),
    ] {
        let responses = document["paths"][path][method]["responses"].as_object().unwrap();
        for status in statuses {
            let response = responses.get(*status).unwrap_or_else(|| panic!("{status} of {path}"));
            let response = resolve(&document, response);
            assert!(response["description"].as_str().is_some_and(|words| !words.is_empty()));
            if *status >= "400" {
                for media in ["application/json", "application/problem+json"] {
                    let examples = response["content"][media]["examples"].as_object();
                    assert!(examples.is_some_and(|examples| !examples.is_empty()), "{status} of {path} as {media}");
                }
            }
            for name in ["RateLimit", "RateLimit-Policy"] {
                let header = resolve(&document, &response["headers"][name]);
                assert!(header["schema"].is_object(), "{name} of {status} of {path}");
            }
            if ["429", "503"].contains(status) {
                assert!(response["headers"]["Retry-After"].is_object(), "{path}");
            }
            if *status == "401" {
                assert!(response["headers"]["WWW-Authenticate"].is_object(), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn schemas_of_requests_and_successes_have_an_example_for_every_field() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    let mut schemas = Vec::new();
    for (path, method, status) in
        [("/", "get", "200"), (REGISTER, "post", "201"), (LOGIN, "post", "200"), (ME, "get", "200")]
    {
        let operation = &document["paths"][path][method];
        schemas.push(&operation["responses"][status]["content"]["application/json"]["schema"]);
        if method == "post" {
            schemas.push(&operation["requestBody"]["content"]["application/json"]["schema"]);
        }
    }
    let mut fields = 0;
    while let Some(schema) = schemas.pop() {
        let properties = resolve(&document, schema)["properties"].as_object().unwrap_or_else(|| panic!("{schema}"));
        for (name, property) in properties {
            if resolve(&document, property)["properties"].is_object() {
                schemas.push(property);
            } else {
                let has_example = ["example", "examples"].iter().any(|key| !property[key].is_null());
                assert!(has_example, "{name}: {property}");
                fields += 1;
            }
        }
    }
    assert!(fields > 15, "{fields}");
}

#[tokio::test]
async fn a_name_that_is_accepted_keeps_to_the_document() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    let request = &document["paths"][REGISTER]["post"]["requestBody"]["content"]["application/json"]["schema"];
    let schema = &resolve(&document, request)["properties"]["name"];
    let padded = format!("\n {}\t", "ë".repeat(100));
    app.register(&john_but("name", padded.as_str())).await.expect_json(201);
    let longest = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
    assert!(padded.chars().count() as u64 <= longest, "{schema}");
}

/// What the service really answers, by path and code, in one of its two formats.
async fn real_refusals(app: &TestApp, accept: &str) -> Vec<(&'static str, Answer)> {
    let send = async |method: &str, path: &str, content_type: &str, body: String| {
        let request = app.request(method, path).header("accept", accept).header("content-type", content_type);
        app.send(request.body(Full::from(body)).unwrap()).await
    };
    let json = "application/json";
    let too_many = format!("{{\"a\":[{}0]}}", "0,".repeat(MAX_VALUES));
    let mut answers = Vec::new();
    for path in [REGISTER, LOGIN] {
        for body in ["{", "[]", r#"{"a":1,"a":1}"#, &" ".repeat(65_537), &too_many] {
            answers.push((path, send("POST", path, json, body.to_owned()).await));
        }
        answers.push((path, send("POST", path, "text/plain", "{}".to_owned()).await));
        let mut slow = Wire::open(app.addr).await;
        slow.send(format!(
            "POST {path} HTTP/1.1\r\nhost: t\r\naccept: {accept}\r\ncontent-type: {json}\r\ncontent-length: 2\r\n\r\n"
        ))
        .await;
        answers.push((path, slow.answer().await));
        let mut broken = Wire::open(app.addr).await;
        broken.send(format!("POST {path} HTTP/1.1\r\nhost: t\r\naccept: {accept}\r\ncontent-type: {json}\r\ntransfer-encoding: chunked\r\n\r\nno number\r\n")).await;
        answers.push((path, broken.answer().await));
    }
    answers.push((REGISTER, send("POST", REGISTER, json, john().to_string()).await));
    let two_rules = r#"{"name":"A","email":"nobody","password":"SecurePassword"}"#;
    answers.push((REGISTER, send("POST", REGISTER, json, two_rules.to_owned()).await));
    answers.push((LOGIN, send("POST", LOGIN, json, "{}".to_owned()).await));
    answers.push((LOGIN, send("POST", LOGIN, json, r#"{"email":"a@example.com","password":"x"}"#.to_owned()).await));
    answers.push((LOGIN, send("POST", LOGIN, json, r#"{"email":"a@example.com","password":1}"#.to_owned()).await));
    answers.push((ME, send("GET", ME, json, String::new()).await));
    let bad = app.request("GET", ME).header("accept", accept).header("authorization", "Bearer x");
    answers.push((ME, app.send(bad.body(Full::default()).unwrap()).await));
    app.db.fail().await;
    answers.push((LOGIN, send("POST", LOGIN, json, r#"{"email":"a@example.com","password":"x"}"#.to_owned()).await));
    app.db.recover().await;
    answers.extend(rate_limited(accept).await);
    answers.push((LOGIN, locked_out(accept).await));
    answers
}

/// Refusals by the limits, of a service that has strict ones.
async fn rate_limited(accept: &str) -> Vec<(&'static str, Answer)> {
    let app = TestApp::with(&[
        ("limits.register_per_minute", "60"),
        ("limits.register_burst", "1"),
        ("limits.login_per_minute", "60"),
        ("limits.login_burst", "1"),
        ("limits.profile_per_second", "1"),
        ("limits.profile_burst", "1"),
        ("limits.other_per_second", "1"),
        ("limits.other_burst", "1"),
    ])
    .await;
    let mut answers = Vec::new();
    for (method, path) in [("POST", REGISTER), ("POST", LOGIN), ("GET", ME), ("GET", "/"), ("GET", JWKS)] {
        let refused = loop {
            let request = app.request(method, path).header("accept", accept);
            let answer = app.send(request.body(Full::default()).unwrap()).await;
            if answer.status == 429 {
                break answer;
            }
        };
        answers.push((path, refused));
    }
    answers
}

/// Refusals that no request can bring about by itself.
const RARE: [&str; 2] = ["internal_error", "overloaded"];

/// The path and the code of every refusal that the document has an example of.
fn documented_refusals(document: &Value, media: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let refusals = examples(document, path, method).into_keys().filter(|(of, _, _)| of == media);
            found.extend(
                refusals.filter(|(_, status, _)| status.as_str() >= "400").map(|(_, _, code)| (path.clone(), code)),
            );
        }
    }
    assert!(!found.is_empty(), "{media}");
    found
}

/// The refusal of a login whose account is locked.
async fn locked_out(accept: &str) -> Answer {
    let app = TestApp::with(&[("limits.lock_after", "1")]).await;
    loop {
        let request = app.request("POST", LOGIN).header("accept", accept).header("content-type", "application/json");
        let body = r#"{"email":"a@example.com","password":"x"}"#;
        let answer = app.send(request.body(Full::from(body)).unwrap()).await;
        if answer.status == 429 {
            return answer;
        }
    }
}

#[tokio::test]
async fn examples_are_what_the_service_really_answers() {
    let app = TestApp::with(&[("server.body_timeout_ms", "100"), ("database.timeout_ms", "2000")]).await;
    app.register_john().await;
    let document = document(&app).await;
    for (accept, code_at) in [("application/json", "/error/code"), ("application/problem+json", "/code")] {
        let mut seen = BTreeSet::new();
        for (path, answer) in real_refusals(&app, accept).await {
            let method = if [ME, "/", JWKS].contains(&path) { "get" } else { "post" };
            let body = answer.json();
            let code = body.pointer(code_at).and_then(Value::as_str).unwrap_or_else(|| panic!("{answer:?}")).to_owned();
            let key = (accept.to_owned(), answer.status.as_str().to_owned(), code);
            let examples = examples(&document, path, method);
            assert_eq!(examples.get(&key), Some(&body), "{key:?} of {path}: {answer:?}");
            seen.insert((path.to_owned(), key.2));
        }
        let documented = documented_refusals(&document, accept);
        for (path, _) in &documented {
            assert!(seen.iter().any(|(seen, _)| seen == path), "no refusal of {path}");
        }
        let codes = |refusals: &BTreeSet<(String, String)>| -> BTreeSet<_> {
            refusals.iter().map(|(_, code)| code.clone()).collect()
        };
        assert!(codes(&documented).difference(&codes(&seen)).eq(RARE), "{seen:?} of {documented:?}");
    }
}

#[tokio::test]
async fn successes_have_the_fields_that_the_document_requires() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    let registered = app.register(&john()).await.expect_json(201);
    let login = app.login(crate::harness::EMAIL, crate::harness::PASSWORD).await.expect_json(200);
    let me = app.me(login["data"]["token"].as_str().unwrap()).await.expect_json(200);
    let root = app.get("/").await.expect_json(200);
    for (path, method, status, body) in [
        ("/", "get", "200", root),
        (REGISTER, "post", "201", registered),
        (LOGIN, "post", "200", login),
        (ME, "get", "200", me),
    ] {
        let response = &document["paths"][path][method]["responses"][status];
        let mut pairs = vec![(&response["content"]["application/json"]["schema"], &body)];
        while let Some((schema, value)) = pairs.pop() {
            let schema = resolve(&document, schema);
            let required: Vec<_> =
                schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            let mut told: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
            told.sort_unstable();
            let mut required_sorted = required.clone();
            required_sorted.sort_unstable();
            assert_eq!(told, required_sorted, "{path}");
            for name in required {
                if value[name].is_object() {
                    pairs.push((&schema["properties"][name], &value[name]));
                }
            }
        }
    }
}

#[tokio::test]
async fn the_program_prints_the_document_that_the_service_serves() {
    let app = TestApp::start().await;
    let exit = Home::new().program(&["openapi"]).run().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert_eq!(serde_json::from_str::<Value>(&exit.stdout).unwrap(), document(&app).await);
}

/// The values of `src` and `href` in a page.
fn links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for attribute in [" src=\"", " href=\""] {
        found.extend(page.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    found
}

/// Checks a page and every file that it names; gives the number of files.
async fn expect_page(app: &TestApp, path: &str) -> usize {
    let page = app.get(path).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'self'"));
    let text = page.text();
    let mut files = 0;
    for link in links(&text) {
        assert!(!link.contains("//"), "{path} loads {link}");
        assert!(!link.starts_with('/'), "{path} would load {link} from beside the path that a proxy gave it");
        if link == "openapi.json" || link.starts_with('.') {
            continue;
        }
        let target = format!("/{link}");
        let file = app.get(&target).await;
        assert_eq!(file.status, 200, "{target}");
        let expected = match target.rsplit('.').next().unwrap() {
            "js" => "text/javascript",
            "css" => "text/css",
            "png" => "image/png",
            other => panic!("{other}"),
        };
        assert!(
            file.header("content-type").unwrap().starts_with(expected),
            "{target}: {:?}",
            file.header("content-type")
        );
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
        assert!(!file.body.is_empty());
        files += 1;
    }
    for scheme in ["http://", "https://"] {
        assert!(!text.contains(scheme), "{path} names {scheme}");
    }
    files
}

#[tokio::test]
async fn swagger_ui_and_all_its_files_are_served() {
    let app = TestApp::start().await;
    assert!(expect_page(&app, "/docs").await >= 4);
    let initializer = app.get("/docs/swagger-initializer.js").await.text();
    assert!(initializer.contains("openapi.json"), "{initializer}");
    assert!(!initializer.contains("petstore"), "{initializer}");
}

#[tokio::test]
async fn redoc_and_all_its_files_are_served() {
    let app = TestApp::start().await;
    assert!(expect_page(&app, "/redoc").await >= 1);
    let script = app.get("/redoc/redoc.js").await.text();
    assert!(script.contains("openapi.json") && script.contains("Redoc"));
}

/// Every file, and the type that it comes as.
const FILES: [&str; 9] = [
    "/openapi.json",
    "/docs",
    "/docs/",
    "/docs/swagger-initializer.js",
    "/docs/swagger-ui-bundle.js",
    "/docs/swagger-ui.css",
    "/docs/favicon-32x32.png",
    "/redoc",
    "/redoc/redoc.js",
];

async fn get_with(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = headers.iter().fold(app.request("GET", path), |request, (name, value)| request.header(*name, *value));
    app.send(request.body(Full::default()).unwrap()).await
}

#[tokio::test]
async fn documents_come_compressed_and_only_once() {
    let app = TestApp::start().await;
    for path in FILES {
        let plain = app.get(path).await;
        let packed = get_with(&app, path, &[("accept-encoding", "br, gzip")]).await;
        assert_eq!((plain.status.as_u16(), packed.status.as_u16()), (200, 200), "{path}");
        assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), (None, Some("gzip")));
        let mut unpacked = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed.body[..]), &mut unpacked).unwrap();
        assert!(unpacked == plain.body, "{path} is another when it is compressed");
        if plain.body.len() > 100_000 {
            assert!(packed.body.len() * 3 < plain.body.len(), "{path}: {} bytes", packed.body.len());
        }
        assert_ne!(plain.header("etag"), packed.header("etag"), "{path}");
        for (answer, encoding) in [(plain, "identity"), (packed, "gzip")] {
            assert_eq!(answer.header("vary"), Some("accept-encoding"), "{path}");
            assert_eq!(answer.header("cache-control"), Some("public, no-cache"), "{path}");
            let tag = answer.header("etag").unwrap();
            let again = get_with(&app, path, &[("accept-encoding", encoding), ("if-none-match", tag)]).await;
            assert_eq!((again.status.as_u16(), again.header("etag")), (304, Some(tag)), "{path} as {encoding}");
            assert!(again.body.is_empty() && again.header("vary").is_some(), "{again:?}");
            let other = get_with(&app, path, &[("accept-encoding", encoding), ("if-none-match", "\"x\"")]).await;
            assert_eq!(other.status, 200, "{path} as {encoding}");
        }
    }
    app.get("/docs/index.html").await.expect_json(404);
}

#[tokio::test]
async fn documents_have_a_limit_of_their_own() {
    let app = TestApp::with(&[("limits.docs_per_second", "1"), ("limits.docs_burst", "2")]).await;
    let mut refused = 0;
    for path in FILES {
        let answer = app.get(path).await;
        assert!(answer.header("ratelimit-policy").unwrap().starts_with("\"docs\";q=2"), "{answer:?}");
        refused += usize::from(answer.status == 429);
    }
    // Half of them at least, however slowly they are asked for.
    assert!(refused > 0, "nothing was refused");
    for path in ["/", JWKS] {
        assert_eq!(app.get(path).await.status, 200, "{path} is no document");
    }
}

#[tokio::test]
async fn one_load_of_both_pages_is_within_the_default_limit() {
    let defaults = rollcall::config::Config::parse("").unwrap();
    let (_, rate) = defaults.limits.rates.classes.iter().find(|(name, _)| *name == "docs").unwrap();
    assert!(rate.burst.get() as usize >= 2 * FILES.len(), "{rate:?}");
    assert!(rate.period >= std::time::Duration::from_millis(100), "{rate:?}");
}

#[tokio::test]
async fn documents_can_be_turned_off() {
    let app = TestApp::with(&[("server.docs", "false")]).await;
    for path in FILES {
        app.get(path).await.expect_json(404);
    }
    assert_eq!(app.get("/").await.status, 200);
}

#[tokio::test]
async fn pages_have_a_name_and_fit_a_phone_and_say_what_they_need() {
    let app = TestApp::start().await;
    for path in ["/docs", "/docs/", "/redoc"] {
        let page = app.get(path).await.text();
        for part in ["<title>Rollcall</title>", "name=\"viewport\" content=\"width=device-width", "<noscript>"] {
            assert!(page.contains(part), "{part} in {path}");
        }
    }
}

#[tokio::test]
async fn operations_stand_in_the_order_in_which_they_are_needed() {
    let app = TestApp::start().await;
    let text = app.get("/openapi.json").await.text();
    let places = [REGISTER, LOGIN, ME].map(|path| text.find(&format!("\"{path}\": {{")).unwrap());
    assert!(places.is_sorted(), "{places:?}");
}

#[tokio::test]
async fn refusals_are_told_apart_by_type() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    for (path, method) in [("/", "get"), (JWKS, "get"), (REGISTER, "post"), (LOGIN, "post"), (ME, "get")] {
        let operation = &document["paths"][path][method];
        for words in ["summary", "description"] {
            assert!(operation[words].as_str().is_some_and(|words| !words.is_empty()), "{words} of {path}");
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            let content = &resolve(&document, response)["content"];
            if status.as_str() < "400" {
                continue;
            }
            assert!(response["$ref"].is_string(), "{status} of {path} is not shared");
            for (media, code) in [
                ("application/json", "/schema/allOf/1/properties/error/allOf/1/properties/code/enum"),
                ("application/problem+json", "/schema/allOf/1/properties/code/enum"),
            ] {
                let told = content[media].pointer(code).and_then(Value::as_array).unwrap();
                let mut told: Vec<_> = told.iter().map(|code| code.as_str().unwrap()).collect();
                told.sort_unstable();
                let shown: Vec<_> = content[media]["examples"].as_object().unwrap().keys().collect();
                assert_eq!(told, shown, "{status} of {path} as {media}");
            }
        }
    }
    for (schema, value) in [("RegisterReply", true), ("LoginReply", true), ("MeReply", true), ("ErrorReply", false)] {
        assert_eq!(document["components"]["schemas"][schema]["properties"]["success"]["const"], value, "{schema}");
    }
}
