//! `GET /.well-known/jwks.json`: the public keys that tokens may be checked with.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, ETAG, HeaderValue};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::{ObjectBuilder, RefOr, Required, ResponseBuilder, Type};

use crate::features::tokens::handle::TokenHandle;
use crate::features::tokens::signing_key::Jwk;
use crate::http::docs::answers;
use crate::http::endpoint::{self, Call, Endpoint};
use crate::http::error::Refusal;
use crate::http::etag;
use crate::http::limits::class::Class;
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

/// The endpoint.
pub(crate) fn endpoint(tokens: TokenHandle) -> Endpoint {
    let outline = endpoint::get("/.well-known/jwks.json", Class::OTHER).describe(|operation| {
        let text = "Whoever checks tokens by themselves finds the key that a token names in its header here. The set is \
                    empty where tokens are signed with a shared secret.";
        operation
            .named("Service", "jwks", "Public signing keys (JWKS)", text)
            .replies::<JwksReply<'_>>(StatusCode::OK, "The public keys that tokens may be checked with")
            .also(describe_caching)
            .refuses(answers::public())
    });
    outline.handle(tokens, jwks)
}

/// Describes the headers for clients that cache the set.
fn describe_caching(operation: &mut Operation) {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let known = ParameterBuilder::new()
        .name("If-None-Match")
        .parameter_in(ParameterIn::Header)
        .description(Some("`ETag` of the set that the client has"))
        .required(Required::False)
        .schema(Some(text()));
    operation.parameters.get_or_insert_default().push(known.build().into());
    let responses = &mut operation.responses.responses;
    if let Some(RefOr::T(set)) = responses.get_mut(StatusCode::OK.as_str()) {
        for (name, words) in
            [("ETag", "Changes with the keys"), ("Cache-Control", "A new key signs only after this time")]
        {
            let header = HeaderBuilder::new().description(Some(words)).schema(Some(text())).build();
            set.headers.insert(name.to_owned(), RefOr::T(header));
        }
    }
    let unchanged = ResponseBuilder::new().description("The client has them already").build();
    responses.insert(StatusCode::NOT_MODIFIED.as_str().to_owned(), RefOr::T(unchanged));
}

async fn jwks(tokens: Arc<TokenHandle>, call: Call) -> Result<Reply, Refusal> {
    let public = tokens.public_keys();
    let body = JwksReply { keys: public.keys.iter().map(JwkBody::from).collect() };
    let mut reply = Reply::json(StatusCode::OK, &body)?;
    let tag = etag::of(&reply.body);
    if etag::is_among(&tag, &call.head.headers) {
        reply = Reply::new(StatusCode::NOT_MODIFIED, Bytes::new());
    }
    reply.headers.insert(CACHE_CONTROL, cache_control(public.max_age));
    // A tag is ASCII, so this does not fail.
    reply.headers.insert(ETAG, HeaderValue::try_from(tag).map_err(|_| Refusal::INTERNAL)?);
    Ok(reply)
}

fn cache_control(max_age: Duration) -> HeaderValue {
    let text = format!("public, max-age={}", max_age.as_secs());
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("no-cache"))
}
