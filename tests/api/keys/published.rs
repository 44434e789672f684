//! The set of public keys that others check tokens with.

use http_body_util::Full;
use jsonwebtoken::jwk::{Jwk, JwkSet, ThumbprintHash};
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Value, json};

use super::{JWKS, Operator, published, signs};
use crate::harness::{Answer, EMAIL, SECRET, TestApp, until};

async fn send(app: &TestApp, method: &str, none_match: &[&str]) -> Answer {
    let mut request = app.request(method, JWKS);
    for tags in none_match {
        request = request.header("if-none-match", *tags);
    }
    app.send(request.body(Full::default()).unwrap()).await
}

#[tokio::test]
async fn secrets_alone_are_an_empty_set() {
    let operator = Operator::new().await;
    let app = operator.replica().await;
    assert_eq!(app.get(JWKS).await.expect_json(200), json!({"keys": []}));
}

#[tokio::test]
async fn the_set_holds_public_keys_and_nothing_else() {
    let operator = Operator::new().await;
    let app = operator.replica().await;
    let kids = [operator.add("eddsa").await, operator.add("es256").await];
    until("the keys", async || published(&app).await == kids).await;
    let text = app.get(JWKS).await.text();
    assert!(!text.contains(SECRET) && !text.contains("HS256") && !text.contains("\"k\"") && !text.contains("\"d\""));
    let set: Value = serde_json::from_str(&text).unwrap();
    for (key, names) in set["keys"]
        .as_array()
        .unwrap()
        .iter()
        .zip([&["alg", "crv", "kid", "kty", "use", "x"][..], &["alg", "crv", "kid", "kty", "use", "x", "y"]])
    {
        assert_eq!(key.as_object().unwrap().keys().collect::<Vec<_>>(), names);
        let jwk: Jwk = serde_json::from_value(key.clone()).unwrap();
        assert_eq!(key["kid"], jwk.thumbprint(ThumbprintHash::SHA256).unwrap(), "RFC 7638");
    }
}

#[tokio::test]
async fn a_stranger_checks_tokens_with_the_set_alone() {
    for name in ["eddsa", "es256"] {
        let operator = Operator::new().await;
        let app = operator.replica().await;
        app.register_john().await;
        signs(&app, &operator.add_active(name).await).await;
        let token = app.token().await;
        let set: JwkSet = serde_json::from_slice(&app.get(JWKS).await.body).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        let jwk = set.find(header.kid.as_deref().unwrap()).unwrap();
        assert_eq!(jwk.common.key_algorithm, Some(header.alg.into()));
        let key = DecodingKey::from_jwk(jwk).unwrap();
        let decoded = jsonwebtoken::decode::<Value>(&token, &key, &Validation::new(header.alg)).unwrap();
        assert_eq!(decoded.claims["email"], EMAIL);
        let names: Vec<_> = decoded.claims.as_object().unwrap().keys().collect();
        assert_eq!(names, ["email", "exp", "iat", "userId"]);
    }
}

#[tokio::test]
async fn a_client_that_has_the_set_is_not_sent_it_again() {
    let operator = Operator::new().await;
    let app = operator.replica().await;
    let first = send(&app, "GET", &[]).await;
    let tag = first.header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    for tags in [&[tag.as_str()][..], &["*"], &[&format!("\"x\", W/{tag}")], &["\"x\"", &tag]] {
        let answer = send(&app, "GET", tags).await;
        assert_eq!(answer.status, 304, "{tags:?}");
        assert_eq!(answer.header("etag"), Some(tag.as_str()));
        assert_eq!(answer.header("cache-control"), first.header("cache-control"));
        assert_eq!((answer.body.len(), answer.header("content-type")), (0, None));
        assert!(answer.header("content-length").is_none_or(|length| length == first.body.len().to_string()));
    }
    for tags in ["", "\"x\"", "x", tag.trim_matches('"')] {
        assert_eq!(send(&app, "GET", &[tags]).await.status, 200, "{tags:?}");
    }
    operator.add("eddsa").await;
    until("another set", async || send(&app, "GET", &[&tag]).await.status == 200).await;
    assert_ne!(send(&app, "GET", &[]).await.header("etag"), Some(tag.as_str()));
}

#[tokio::test]
async fn the_set_may_be_kept_for_less_than_a_key_is_published_before_it_signs() {
    for (publish, kept) in [(None, "public, max-age=150"), (Some("20"), "public, max-age=10")] {
        let overrides: Vec<_> = publish.map(|seconds| ("tokens.publish_s", seconds)).into_iter().collect();
        let app = TestApp::with(&overrides).await;
        assert_eq!(app.get(JWKS).await.header("cache-control"), Some(kept));
    }
}

#[tokio::test]
async fn the_set_is_read_by_the_methods_that_read() {
    let app = TestApp::start().await;
    let get = send(&app, "GET", &[]).await;
    let head = send(&app, "HEAD", &[]).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    for name in ["content-length", "content-type", "etag", "cache-control"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
        assert!(get.header(name).is_some(), "{name}");
    }
    let options = send(&app, "OPTIONS", &[]).await;
    assert_eq!((options.status.as_u16(), options.header("allow")), (204, Some("GET, HEAD, OPTIONS")));
    for method in ["POST", "PUT", "DELETE"] {
        send(&app, method, &[]).await.expect_refusal(405, "method_not_allowed");
    }
}

#[tokio::test]
async fn the_document_tells_of_the_set() {
    let app = TestApp::start().await;
    let document = app.get("/openapi.json").await.expect_json(200);
    let operation = &document["paths"][JWKS]["get"];
    let answer = &operation["responses"]["200"];
    assert!(answer["headers"]["ETag"].is_object() && answer["headers"]["Cache-Control"].is_object(), "{operation}");
    assert!(operation["responses"]["304"].is_object(), "{operation}");
    let schema = &document["components"]["schemas"]["JwkBody"];
    let mut required: Vec<_> =
        schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    required.sort_unstable();
    assert_eq!(required, ["alg", "crv", "kid", "kty", "use", "x"]);
    assert_eq!(schema["properties"]["y"]["type"], "string", "left out, never null: {schema}");
}
