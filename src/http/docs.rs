//! The API's documents: OpenAPI 3.1 from the code's own types, Swagger UI and ReDoc. All of it is inside the binary.

use std::sync::{Arc, OnceLock};

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use serde_json::json;
use utoipa::OpenApi;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, ObjectBuilder, Ref, RefOr, ResponseBuilder, Type};

use super::error::{ErrorReply, Format, Problem, Refusal};
use super::handlers::{jwks, login, me, register, root};
use super::reply::Reply;
use crate::domain::Violation;

/// Own scripts only; styles that the pages set on their elements; ReDoc's search runs in a worker made from a blob.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src blob:; base-uri 'self'; \
     frame-ancestors 'none'",
);
const TITLE: &str = "User Management API";
const REDOC_PAGE: &str = "<!DOCTYPE html>
<html lang=\"en\">
  <head>
    <meta charset=\"UTF-8\">
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
    <title>User Management API</title>
    <link rel=\"icon\" type=\"image/png\" href=\"/docs/favicon-32x32.png\">
    <style>body { margin: 0; }</style>
  </head>
  <body>
    <div id=\"redoc-container\"></div>
    <script src=\"/redoc/redoc.js\"></script>
  </body>
</html>
";
/// What starts ReDoc. The crate's own line leaves a gap of 50 pixels above the menu, for a head that this page lacks.
const REDOC_START: &str = "Redoc.init('/openapi.json', {}, document.getElementById('redoc-container'));\n";
/// The image that ReDoc would fetch for its footer, and so tell others who reads the documents.
const REDOC_LOGO: &str = "https://cdn.redoc.ly/redoc/logo-mini.svg";
/// An image without content, which ReDoc leaves out.
const NO_LOGO: &str = "data:,";

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

/// The documents, made when first asked for: a service that nobody reads about keeps its memory.
#[derive(Debug, Default)]
pub struct Docs {
    openapi: OnceLock<Bytes>,
    redoc_script: OnceLock<Bytes>,
}

/// The OpenAPI document, indented.
///
/// # Errors
/// Where it does not serialize.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    document().to_pretty_json()
}

impl Docs {
    pub(super) fn openapi(&self) -> Result<Reply, Refusal> {
        let text = if let Some(text) = self.openapi.get() {
            text.clone()
        } else {
            let text = openapi_json().map_err(|error| {
                tracing::error!(%error, "the OpenAPI document does not serialize");
                Refusal::INTERNAL
            })?;
            self.openapi.get_or_init(|| Bytes::from(text)).clone()
        };
        Ok(Reply::of_type(StatusCode::OK, "application/json", text))
    }

    /// Swagger UI's page at `/docs`, its files below.
    pub(super) fn swagger_ui(path: &str) -> Result<Reply, Refusal> {
        let file = path.strip_prefix("/docs").unwrap_or_default().trim_start_matches('/');
        // Under any name but localhost, Swagger UI would show the document to a validator on the web.
        let config = utoipa_swagger_ui::Config::from("/openapi.json").try_it_out_enabled(true).validator_url("none");
        let found = utoipa_swagger_ui::serve(file, Arc::new(config)).map_err(|error| {
            tracing::error!(%error, "Swagger UI cannot be served");
            Refusal::INTERNAL
        })?;
        let found = found.ok_or(Refusal::NOT_FOUND)?;
        let body = if file.is_empty() {
            // The page names its files relative to itself, and /docs has no slash at its end.
            let page = String::from_utf8_lossy(&found.bytes).replace("<head>", "<head><base href=\"/docs/\">");
            Bytes::from(page.replace("<title>Swagger UI", &format!("<title>{TITLE}")))
        } else {
            match found.bytes {
                std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                std::borrow::Cow::Owned(bytes) => Bytes::from(bytes),
            }
        };
        let content_type = HeaderValue::try_from(found.content_type).map_err(|_| Refusal::INTERNAL)?;
        let mut reply = page("text/html; charset=utf-8", body);
        if !file.is_empty() {
            reply.headers.insert(hyper::header::CONTENT_TYPE, content_type);
        }
        Ok(reply)
    }

    pub(super) fn redoc() -> Reply {
        page("text/html; charset=utf-8", REDOC_PAGE)
    }

    /// ReDoc's bundle and the line that starts it. The crate has the bundle only inside a page, where the content security
    /// policy would have to allow inline scripts.
    pub(super) fn redoc_script(&self) -> Reply {
        let script = self.redoc_script.get_or_init(|| {
            let page = aide::redoc::Redoc::new("/openapi.json").html();
            let bundle = page.split_once("<script>").and_then(|(_, rest)| rest.rsplit_once("Redoc.init("));
            let bundle = bundle.map_or("", |(bundle, _)| bundle).replace(REDOC_LOGO, NO_LOGO);
            Bytes::from(bundle + REDOC_START)
        });
        page("text/javascript; charset=utf-8", script.clone())
    }
}

fn page(content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Reply::of_type(StatusCode::OK, content_type, body);
    reply.headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    reply
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crates_redoc_page_is_cut_where_it_should_be() {
        let page = aide::redoc::Redoc::new("/openapi.json").html();
        assert_eq!(page.matches(REDOC_LOGO).count(), 1, "ReDoc has another logo");
        let script = Docs::default().redoc_script().body;
        let script = std::str::from_utf8(&script).unwrap();
        assert!(script.len() > 500_000, "the bundle is missing: {} bytes", script.len());
        assert_eq!(script.matches("Redoc.init(").count(), 1);
        assert!(!script.contains("</script>"), "more than the script");
    }
}
