//! One endpoint in the OpenAPI document.

use hyper::StatusCode;
use utoipa::ToSchema;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, Ref, RefOr, Required, ResponseBuilder, Schema, SecurityRequirement, Type,
};

use super::answers::Answer;
use crate::http::endpoint::Caller;

/// An operation, the schemas that it names, and its refusals.
pub struct Description {
    pub(super) operation: Operation,
    pub(super) schemas: Vec<(String, RefOr<Schema>)>,
    pub(super) answers: Vec<Answer>,
}

impl Description {
    pub(in crate::http) fn new(path: &str, caller: Caller) -> Self {
        let security = match caller {
            Caller::Anybody => SecurityRequirement::default(),
            Caller::User => SecurityRequirement::new::<_, [&str; 0], &str>("bearer", []),
        };
        let parameters: Vec<_> = parameters_of(path).collect();
        let mut operation = OperationBuilder::new().securities(Some([security])).build();
        operation.parameters = (!parameters.is_empty()).then_some(parameters);
        Self { operation, schemas: Vec::new(), answers: Vec::new() }
    }

    /// Sets its group, its name in generated clients, a heading and a text.
    #[must_use]
    pub fn named(mut self, tag: &str, id: &str, heading: &str, text: &str) -> Self {
        self.operation.tags = Some(vec![tag.to_owned()]);
        self.operation.operation_id = Some(id.to_owned());
        self.operation.summary = Some(heading.to_owned());
        self.operation.description = Some(text.to_owned());
        self
    }

    /// Adds its success: the status, when clients get it, and the type of the body.
    #[must_use]
    pub fn replies<T: ToSchema>(mut self, status: StatusCode, when: &str) -> Self {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(T::name()))).build();
        let response = ResponseBuilder::new().description(when).content("application/json", content).build();
        self.operation.responses.responses.insert(status.as_str().to_owned(), RefOr::T(response));
        self.add_schemas::<T>();
        self
    }

    /// Adds its refusals.
    #[must_use]
    pub fn refuses(mut self, answers: Vec<Answer>) -> Self {
        self.answers.extend(answers);
        self
    }

    /// Changes anything else.
    #[must_use]
    pub fn also(mut self, add: fn(&mut Operation)) -> Self {
        add(&mut self.operation);
        self
    }

    /// Sets the type of its body.
    pub(in crate::http) fn reads<T: ToSchema>(mut self) -> Self {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(T::name()))).build();
        let body = RequestBodyBuilder::new().content("application/json", content).required(Some(Required::True));
        self.operation.request_body = Some(body.build().into());
        self.add_schemas::<T>();
        self
    }

    fn add_schemas<T: ToSchema>(&mut self) {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
    }
}

/// The parameters of a path: its parts in braces.
fn parameters_of(path: &str) -> impl Iterator<Item = RefOr<Parameter>> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(|name| {
        let text = ObjectBuilder::new().schema_type(Type::String);
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(text))
            .build()
            .into()
    })
}
