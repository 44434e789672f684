//! Refusals in the document: answers of one status, which operations reference by name.

use hyper::StatusCode;
use serde_json::json;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::{
    AllOfBuilder, Content, ContentBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Schema, Type,
};

use crate::http::error::{Format, Refusal};

/// The refusals of one status.
#[derive(Debug)]
pub struct Answer {
    /// Its name in the document.
    pub(super) name: &'static str,
    pub(super) status: StatusCode,
    /// When clients get it, as a sentence.
    when: &'static str,
    refusals: Vec<Refusal>,
}

impl Answer {
    /// An answer with these refusals, which all have the same status.
    #[must_use]
    pub fn new(name: &'static str, when: &'static str, refusals: Vec<Refusal>) -> Self {
        let status = refusals.first().map_or(StatusCode::INTERNAL_SERVER_ERROR, |refusal| refusal.status);
        Self { name, status, when, refusals }
    }

    /// Its headers, its codes, and an example of each in both formats.
    pub(super) fn into_response(self) -> Response {
        let mut response = ResponseBuilder::new().description(self.when);
        if self.refusals.iter().any(|refusal| refusal.retry_after.is_some()) {
            response = response.header("Retry-After", header(Type::Integer, "Seconds after which to try again."));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response = response.header("WWW-Authenticate", header(Type::String, "Always `Bearer`."));
        }
        response
            .content("application/json", self.content(Format::Envelope))
            .content("application/problem+json", self.content(Format::Problem))
            .build()
    }

    /// The schema of `format`, with no codes but those of this answer.
    fn content(&self, format: Format) -> Content {
        let allowed = self.refusals.iter().map(|refusal| refusal.code);
        let code = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(allowed));
        let narrowed_body = ObjectBuilder::new().schema_type(Type::Object).property("code", code).required("code");
        let (base, narrowed) = match format {
            Format::Envelope => {
                let outer = ObjectBuilder::new().schema_type(Type::Object);
                let error = AllOfBuilder::new().item(Ref::from_schema_name("ErrorBody")).item(narrowed_body);
                ("ErrorReply", outer.property("error", error).required("error"))
            }
            Format::Problem => ("Problem", narrowed_body),
        };
        let schema = AllOfBuilder::new().item(Ref::from_schema_name(base)).item(narrowed).build();
        let examples = self.refusals.iter().map(|refusal| {
            let body = refusal.clone().into_reply(format).body;
            let value = serde_json::from_slice(&body).unwrap_or_else(|_| json!({}));
            let example = ExampleBuilder::new().summary(refusal.message).value(Some(value)).build();
            (refusal.code.to_owned(), RefOr::T(example))
        });
        let mut content = ContentBuilder::new().schema(Some(Schema::AllOf(schema))).build();
        content.examples = examples.collect();
        content
    }
}

fn header(kind: Type, words: &str) -> Header {
    HeaderBuilder::new().description(Some(words)).schema(Some(ObjectBuilder::new().schema_type(kind))).build()
}

/// Answers of operations without a body and without a token.
#[must_use]
pub fn public() -> Vec<Answer> {
    vec![rate_limited(), Answer::new("Overloaded", "Too many requests are being answered.", vec![Refusal::OVERLOADED])]
}

/// The answer to a network over its rate limit.
#[must_use]
pub fn rate_limited() -> Answer {
    Answer::new("RateLimited", "Too many requests of one network.", vec![Refusal::RATE_LIMITED])
}

/// Refusals of a body that is incomplete, no JSON object, or has a key twice.
#[must_use]
pub fn not_json() -> Vec<Refusal> {
    vec![Refusal::MALFORMED_JSON, Refusal::NOT_AN_OBJECT, Refusal::DUPLICATE_KEY, Refusal::INCOMPLETE_BODY]
}

/// Answers of operations that read a body, but for broken rules of its fields.
#[must_use]
pub fn of_bodies() -> Vec<Answer> {
    let large = vec![Refusal::PAYLOAD_TOO_LARGE, Refusal::TOO_MANY_VALUES];
    let mut answers = of_databases();
    answers.extend([
        Answer::new("RequestTimeout", "The body did not arrive in time.", vec![Refusal::REQUEST_TIMEOUT]),
        Answer::new("TooLarge", "The body is too long, or has too many values.", large),
        Answer::new("NotJson", "The body is declared as something else.", vec![Refusal::UNSUPPORTED_MEDIA_TYPE]),
    ]);
    answers
}

/// Answers of operations that need the database.
#[must_use]
pub fn of_databases() -> Vec<Answer> {
    let away = vec![Refusal::OVERLOADED, Refusal::UNAVAILABLE];
    vec![
        Answer::new("InternalError", "The service failed; its log says why.", vec![Refusal::INTERNAL]),
        Answer::new("Unavailable", "Too many requests wait, or the database is away.", away),
    ]
}
