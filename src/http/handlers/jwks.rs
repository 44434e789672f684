//! `GET /.well-known/jwks.json`: the public keys that tokens may be checked with.

use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderValue};
use serde::Serialize;
use utoipa::ToSchema;

use crate::actors::Handles;
use crate::domain::signing_key::Jwk;
use crate::http::error::Refusal;
use crate::http::etag;
use crate::http::reply::Reply;

/// A JWK set (RFC 7517, section 5).
#[derive(Debug, Serialize, ToSchema)]
pub struct JwksReply<'a> {
    /// Every key that tokens are or will be signed with, and those whose tokens live out their time. None where tokens are
    /// signed with a shared secret.
    keys: Vec<JwkBody<'a>>,
}

/// A public key.
#[derive(Debug, Serialize, ToSchema)]
pub struct JwkBody<'a> {
    /// `OKP` or `EC`.
    #[schema(example = "OKP")]
    kty: &'a str,
    /// `Ed25519` or `P-256`.
    #[schema(example = "Ed25519")]
    crv: &'a str,
    /// The key, or its point's first coordinate, in base64url.
    #[schema(example = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")]
    x: &'a str,
    /// The point's second coordinate, of `EC` keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, example = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")]
    y: Option<&'a str>,
    /// The thumbprint (RFC 7638), which tokens of this key name in their header.
    #[schema(example = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")]
    kid: &'a str,
    /// `EdDSA` or `ES256`.
    #[schema(example = "EdDSA")]
    alg: &'a str,
    /// Always `sig`.
    #[serde(rename = "use")]
    #[schema(rename = "use", example = "sig")]
    usage: &'a str,
}

impl<'a> From<&'a Jwk> for JwkBody<'a> {
    fn from(jwk: &'a Jwk) -> Self {
        let Jwk { kty, crv, x, y, kid, alg, usage } = jwk;
        Self { kty, crv, x, y: y.as_deref(), kid, alg, usage }
    }
}

/// Public signing keys (JWKS)
///
/// Whoever checks tokens by themselves finds the key that a token names in its header here. The set is empty where tokens
/// are signed with a shared secret.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "Service", operation_id = "jwks",
    security(()),
    params(("If-None-Match" = Option<String>, Header, description = "`ETag` of the set that the client has")),
    responses(
        (
            status = 200, description = "The public keys that tokens may be checked with", body = JwksReply<'_>,
            headers(
                ("ETag" = String, description = "Changes with the keys"),
                ("Cache-Control" = String, description = "A new key signs only after this time"),
            )
        ),
        (status = 304, description = "The client has them already"),
    )
)]
pub(in crate::http) fn handle(handles: &Handles, headers: &HeaderMap) -> Result<Reply, Refusal> {
    let public = handles.tokens.public_keys();
    let body = JwksReply { keys: public.keys.iter().map(JwkBody::from).collect() };
    let mut reply = Reply::json(StatusCode::OK, &body)?;
    let tag = etag::of(&reply.body);
    if etag::is_among(&tag, headers) {
        reply = Reply::new(StatusCode::NOT_MODIFIED, Bytes::new());
    }
    reply.headers.insert(CACHE_CONTROL, cache_control(public.max_age));
    // Plain ASCII both.
    reply.headers.insert(ETAG, HeaderValue::try_from(tag).map_err(|_| Refusal::INTERNAL)?);
    Ok(reply)
}

fn cache_control(max_age: Duration) -> HeaderValue {
    let text = format!("public, max-age={}", max_age.as_secs());
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("no-cache"))
}
