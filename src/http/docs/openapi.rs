//! The OpenAPI document, from the code's own types and its own refusals.

use hyper::StatusCode;
use serde_json::json;
use utoipa::OpenApi;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, ObjectBuilder, Ref, RefOr, ResponseBuilder, Type};

use crate::domain::Violation;
use crate::http::error::{ErrorReply, Format, Problem, Refusal};
use crate::http::handlers::{jwks, login, me, register, root};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "User Management API",
        description = "Registers users, checks their passwords and tells whose token it is. Every refusal comes as \
                       `application/problem+json` too, to those who accept it.",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(root::handle, register::handle, login::handle, me::handle, jwks::handle),
    components(schemas(ErrorReply, Problem)),
    tags((name = "Users", description = "Accounts and logins"), (name = "Service", description = "The service itself")),
)]
struct Api;

/// The OpenAPI document, indented.
///
/// # Errors
/// Where it does not serialize.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    document().to_pretty_json()
}

/// What the types say, and every refusal with an example that the service's own code wrote.
fn document() -> utoipa::openapi::OpenApi {
    let mut api = Api::openapi();
    let body_refusals = || {
        vec![
            Refusal::MALFORMED_JSON,
            Refusal::NOT_AN_OBJECT,
            Refusal::DUPLICATE_KEY,
            Refusal::INCOMPLETE_BODY,
            Refusal::REQUEST_TIMEOUT,
            Refusal::PAYLOAD_TOO_LARGE,
            Refusal::TOO_MANY_VALUES,
            Refusal::UNSUPPORTED_MEDIA_TYPE,
            Refusal::RATE_LIMITED,
            Refusal::OVERLOADED,
            Refusal::UNAVAILABLE,
            Refusal::INTERNAL,
        ]
    };
    let mut register = body_refusals();
    register.push(Refusal::invalid(vec![
        Violation::new("email", "must be a valid email address, such as name@example.com"),
        Violation::new("password", "must contain a digit"),
    ]));
    register.push(Refusal::EMAIL_TAKEN);
    let mut login = body_refusals();
    login.push(Refusal::MISSING_CREDENTIALS);
    login.push(Refusal::INVALID_CREDENTIALS);
    login.push(Refusal::TOO_MANY_ATTEMPTS);
    login.push(Refusal::invalid(vec![Violation::new("password", "must be a string")]));
    let me = vec![
        Refusal::INVALID_TOKEN,
        Refusal::NOT_AUTHENTICATED,
        Refusal::RATE_LIMITED,
        Refusal::OVERLOADED,
        Refusal::UNAVAILABLE,
        Refusal::INTERNAL,
    ];
    let public = || vec![Refusal::RATE_LIMITED, Refusal::OVERLOADED];
    for (path, refusals) in [
        ("/", public()),
        ("/.well-known/jwks.json", public()),
        ("/api/users/register", register),
        ("/api/users/login", login),
        ("/api/users/me", me),
    ] {
        if let Some(operation) = api.paths.paths.get_mut(path).and_then(operation) {
            for refusal in refusals {
                describe(operation, &refusal);
            }
            tell_limits(operation);
        }
    }
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let components = api.components.get_or_insert_default();
    components.security_schemes.insert("bearer".to_owned(), RefOr::T(SecurityScheme::Http(bearer)));
    api
}

fn operation(item: &mut PathItem) -> Option<&mut Operation> {
    item.get.as_mut().or(item.post.as_mut())
}

/// Adds `refusal` to the answers of `operation`: its status, its headers and an example of its body in both formats.
fn describe(operation: &mut Operation, refusal: &Refusal) {
    let status = refusal.status.as_str().to_owned();
    let reason = refusal.status.canonical_reason().unwrap_or_default();
    let slot = operation.responses.responses.entry(status).or_insert_with(|| {
        let mut response = ResponseBuilder::new().description(reason);
        let text = |kind| HeaderBuilder::new().schema(Some(ObjectBuilder::new().schema_type(kind))).build();
        if refusal.retry_after.is_some() {
            response = response.header("Retry-After", text(Type::Integer));
        }
        if refusal.status == StatusCode::UNAUTHORIZED {
            response = response.header("WWW-Authenticate", text(Type::String));
        }
        RefOr::T(response.build())
    });
    let RefOr::T(response) = slot else { return };
    for (format, media, schema) in
        [(Format::Envelope, "application/json", "ErrorReply"), (Format::Problem, "application/problem+json", "Problem")]
    {
        let content = response
            .content
            .entry(media.to_owned())
            .or_insert_with(|| RefOr::T(ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build()));
        let body = refusal.clone().into_reply(format).body;
        let value = serde_json::from_slice(&body).unwrap_or_else(|_| json!({}));
        let example = ExampleBuilder::new().summary(refusal.message).value(Some(value)).build();
        if let RefOr::T(content) = content {
            content.examples.insert(refusal.code.to_owned(), RefOr::T(example));
        }
    }
}

/// Adds the headers that tell of the rate limit to every answer of `operation`.
fn tell_limits(operation: &mut Operation) {
    let text = |words, example: &str| {
        let schema = ObjectBuilder::new().schema_type(Type::String).examples([json!(example)]);
        RefOr::T(HeaderBuilder::new().description(Some(words)).schema(Some(schema)).build())
    };
    for response in operation.responses.responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        let limit = text("Requests left, and for how many seconds; none while limits are off.", "\"login\";r=239;t=1");
        let policy = text("Requests at once, and the seconds in which as many come back.", "\"login\";q=240;w=120");
        response.headers.insert("RateLimit".to_owned(), limit);
        response.headers.insert("RateLimit-Policy".to_owned(), policy);
    }
}
