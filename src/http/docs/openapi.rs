//! The OpenAPI document, from the code's own types and its own refusals.

use hyper::Method;
use utoipa::OpenApi;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{HttpMethod, Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, ObjectBuilder, Ref, RefOr, Type};

use super::answers::Answer;
use super::description::Description;
use crate::http::endpoint::{Caller, Spec};
use crate::http::error::{ErrorReply, Problem};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "User Management API",
        description = "Rollcall registers users, checks their passwords and tells whose token it is. Every refusal has a \
                       machine-readable code. It comes as `application/problem+json` (RFC 9457) too, to those who name \
                       that in `Accept`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
        contact(name = "Whoever runs this service"),
    ),
    // Relative to the document, so that it holds below any path of a proxy.
    servers((url = ".", description = "This service")),
    components(schemas(ErrorReply, Problem)),
    tags((name = "Users", description = "Accounts and logins"), (name = "Service", description = "The service itself")),
)]
struct Api;

/// The rate-limit headers of every answer: name, description and example.
const LIMITS: [(&str, &str, &str); 2] = [
    ("RateLimit", "Requests left, and for how many seconds; none while limits are off.", "\"login\";r=239;t=1"),
    ("RateLimit-Policy", "Requests at once, and the seconds in which as many come back.", "\"login\";q=240;w=120"),
];

/// The OpenAPI document of these endpoints, indented.
///
/// # Errors
/// The document does not serialize.
pub fn openapi_json(specs: &[Spec]) -> Result<String, serde_json::Error> {
    document(specs).to_pretty_json()
}

/// Joins the endpoints' descriptions. The service's own code writes the examples of refusals.
fn document(specs: &[Spec]) -> utoipa::openapi::OpenApi {
    let mut api = Api::openapi();
    let components = api.components.get_or_insert_default();
    // Operations that give a token come before those that need one.
    let mut ordered: Vec<_> = specs.iter().collect();
    ordered.sort_by_key(|spec| spec.caller == Caller::User);
    for spec in ordered {
        let Description { mut operation, schemas, answers } = spec.description();
        components.schemas.extend(schemas);
        add_limits(&mut operation);
        for answer in answers {
            describe(&mut operation, components, answer);
        }
        let item = api.paths.paths.entry(spec.path.to_owned()).or_default();
        item.merge_operations(PathItem::new(method(&spec.method), operation));
    }
    for (name, words, example) in LIMITS {
        let schema = ObjectBuilder::new().schema_type(Type::String).examples([example]);
        let header = HeaderBuilder::new().description(Some(words)).schema(Some(schema)).build();
        components.headers.insert(name.to_owned(), RefOr::T(header));
    }
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The token that a login gave: `data.token` of its answer."))
        .build();
    components.security_schemes.insert("bearer".to_owned(), RefOr::T(SecurityScheme::Http(bearer)));
    api
}

fn method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

/// Adds `answer` to `operation`, as a reference to its entry in `components`.
fn describe(operation: &mut Operation, components: &mut Components, answer: Answer) {
    let reference = Ref::from_response_name(answer.name);
    operation.responses.responses.insert(answer.status.as_str().to_owned(), RefOr::Ref(reference));
    components.responses.entry(answer.name.to_owned()).or_insert_with(|| {
        let mut response = answer.into_response();
        response.headers.extend(limits());
        RefOr::T(response)
    });
}

/// References to the rate-limit headers.
fn limits() -> impl Iterator<Item = (String, RefOr<utoipa::openapi::header::Header>)> {
    LIMITS.into_iter().map(|(name, ..)| {
        let reference = Ref::new(format!("#/components/headers/{name}"));
        (name.to_owned(), RefOr::Ref(reference))
    })
}

/// Adds the rate-limit headers to the successes of `operation`.
fn add_limits(operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            response.headers.extend(limits());
        }
    }
}
