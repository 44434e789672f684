//! An endpoint: its path and method, its limit class, who may call it, the types of its body and reply, and its
//! handler. Router, limits, metrics and documents are built from the list of all endpoints.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::Method;
use hyper::http::request::Parts;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::body::{BodyError, read};
use super::client::Client;
use super::docs::description::Description;
use super::error::Refusal;
use super::limits::class::Class;
use super::reply::Reply;

/// The future of a handler.
pub type Answered = Pin<Box<dyn Future<Output = Result<Reply, Refusal>> + Send>>;

/// A request that an endpoint handles.
#[derive(Debug)]
pub struct Call {
    /// Its head.
    pub head: Parts,
    /// Its sender.
    pub client: Client,
    pub(super) parameters: Vec<(String, String)>,
}

impl Call {
    /// The part of the path that `{name}` stands for, not decoded; empty where the path has no such part.
    #[must_use]
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The value of `name` in the query string, decoded; of several the first.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.head.uri.query()?;
        form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Anybody.
    Anybody,
    /// A user, with an access token in `Authorization`.
    User,
}

/// What the requests of an endpoint wait for. Requests that wait for password checks are counted apart, because their
/// long waits would keep all others out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// At most the database.
    Light,
    /// Password checks.
    Hashing,
}

type BodyHandler = dyn Fn(Call, Zeroizing<Vec<u8>>) -> Result<Answered, BodyError> + Send + Sync;

pub(super) enum Handler {
    Plain(Box<dyn Fn(Call) -> Answered + Send + Sync>),
    /// One that reads the body.
    WithBody(Box<BodyHandler>),
}

/// An endpoint.
pub struct Endpoint {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// Its name in metrics and logs.
    pub(super) label: &'static str,
    pub(super) class: Class,
    pub(super) caller: Caller,
    pub(super) work: Work,
    pub(super) handler: Handler,
    describe: Option<fn(Description) -> Description>,
    reads: Option<fn(Description) -> Description>,
}

/// The part of an endpoint that the OpenAPI document shows.
#[derive(Debug, Clone)]
pub struct Spec {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) caller: Caller,
    describe: fn(Description) -> Description,
    reads: Option<fn(Description) -> Description>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({} {})", self.method, self.path)
    }
}

/// An endpoint that has no handler yet.
#[must_use]
pub struct Outline {
    method: Method,
    path: &'static str,
    label: &'static str,
    class: Class,
    caller: Caller,
    work: Work,
    describe: Option<fn(Description) -> Description>,
    reads: Option<fn(Description) -> Description>,
}

/// `GET`, and `HEAD` with it. `path` may have parameters, as in `/users/{id}`.
pub fn get(path: &'static str, class: Class) -> Outline {
    outline(Method::GET, path, class)
}

/// `POST`.
pub fn post(path: &'static str, class: Class) -> Outline {
    outline(Method::POST, path, class)
}

/// `PUT`.
pub fn put(path: &'static str, class: Class) -> Outline {
    outline(Method::PUT, path, class)
}

/// `PATCH`.
pub fn patch(path: &'static str, class: Class) -> Outline {
    outline(Method::PATCH, path, class)
}

/// `DELETE`.
pub fn delete(path: &'static str, class: Class) -> Outline {
    outline(Method::DELETE, path, class)
}

fn outline(method: Method, path: &'static str, class: Class) -> Outline {
    Outline {
        method,
        path,
        label: path,
        class,
        caller: Caller::Anybody,
        work: Work::Light,
        describe: None,
        reads: None,
    }
}

impl Outline {
    /// Sets who may call it; by default anybody.
    pub fn called_by(mut self, caller: Caller) -> Self {
        self.caller = caller;
        self
    }

    /// Sets what its requests wait for; by default [`Work::Light`].
    pub fn work(mut self, work: Work) -> Self {
        self.work = work;
        self
    }

    /// Sets its name in metrics and logs; by default its path.
    pub fn label(mut self, label: &'static str) -> Self {
        self.label = label;
        self
    }

    /// Adds it to the OpenAPI document. `describe` is called when a client first asks for the document.
    pub fn describe(mut self, describe: fn(Description) -> Description) -> Self {
        self.describe = Some(describe);
        self
    }

    /// Completes the endpoint with a handler that reads no body. `state` is passed to each call.
    pub fn handle<S, F>(self, state: S, handler: fn(Arc<S>, Call) -> F) -> Endpoint
    where
        S: Send + Sync + 'static,
        F: Future<Output = Result<Reply, Refusal>> + Send + 'static,
    {
        let state = Arc::new(state);
        self.with(Handler::Plain(Box::new(move |call| Box::pin(handler(Arc::clone(&state), call)))))
    }

    /// Completes the endpoint with a handler that reads a JSON object. The document shows its type.
    pub fn handle_json<S, B, F>(mut self, state: S, handler: fn(Arc<S>, Call, B) -> F) -> Endpoint
    where
        S: Send + Sync + 'static,
        B: DeserializeOwned + ToSchema + 'static,
        F: Future<Output = Result<Reply, Refusal>> + Send + 'static,
    {
        self.reads = Some(Description::reads::<B>);
        let state = Arc::new(state);
        self.with(Handler::WithBody(Box::new(move |call, bytes| {
            Ok(Box::pin(handler(Arc::clone(&state), call, read(&bytes)?)))
        })))
    }

    fn with(self, handler: Handler) -> Endpoint {
        let Self { method, path, label, class, caller, work, describe, reads } = self;
        Endpoint { method, path, label, class, caller, work, handler, describe, reads }
    }
}

impl Endpoint {
    /// Its part of the OpenAPI document; `None` where it is not described.
    #[must_use]
    pub fn spec(&self) -> Option<Spec> {
        let Self { method, path, caller, describe, reads, .. } = self;
        Some(Spec { method: method.clone(), path, caller: *caller, describe: (*describe)?, reads: *reads })
    }
}

impl Spec {
    pub(super) fn description(&self) -> Description {
        let description = (self.describe)(Description::new(self.path, self.caller));
        match self.reads {
            Some(reads) => reads(description),
            None => description,
        }
    }
}
