//! The gate before all routes: it finds a request's client, asks the rate limits, and adds the headers of rate limits
//! and CORS to the answer.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::HeaderMap;
use hyper::http::request::Parts;

use super::client::{Client, Proxies};
use super::cors::{Cors, Sharing};
use super::error::Refusal;
use super::limits::class::Class;
use super::limits::{Admission, Limits};
use super::router::{Found, Route};
use crate::config::Config;

/// The gate of a service.
#[derive(Debug)]
pub struct Gate {
    proxies: Proxies,
    limits: Arc<Limits>,
    cors: Cors,
}

/// One request at the gate.
#[derive(Debug)]
pub(super) struct Visit<'a> {
    gate: &'a Gate,
    route: Option<&'a Route>,
    limit: Option<usize>,
    /// Its sender.
    pub(super) client: Client,
    admission: Admission<'a>,
    sharing: Sharing,
}

impl Gate {
    /// A gate as `config` has it, with these limits.
    #[must_use]
    pub fn new(config: &Config, limits: Arc<Limits>) -> Self {
        let proxies = Proxies::new(config.server.trusted_proxies.clone());
        Self { proxies, limits, cors: Cors::new(&config.cors) }
    }

    /// The rate limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Asks the limits about a request to the redirect.
    pub(super) async fn admit_to_redirect(&self, headers: &HeaderMap, peer: IpAddr) -> Result<(), Refusal> {
        let client = self.proxies.client(peer, headers);
        self.limits.admit(self.limits.position(Class::OTHER), client.network).await.refusal().map_or(Ok(()), Err)
    }

    /// Begins the visit of a request; the limits are not asked yet.
    pub(super) fn receive<'a>(&'a self, head: &Parts, found: Found<'a>, peer: IpAddr) -> Visit<'a> {
        Visit {
            gate: self,
            route: found.route,
            limit: found.limit,
            client: self.proxies.client(peer, &head.headers),
            admission: self.limits.pending(found.limit),
            sharing: self.cors.sharing(head),
        }
    }
}

impl Visit<'_> {
    /// Asks the limits, and returns their refusal.
    pub(super) async fn admit(&mut self) -> Result<(), Refusal> {
        self.admission = self.gate.limits.admit(self.limit, self.client.network).await;
        self.admission.refusal().map_or(Ok(()), Err)
    }

    /// Whether the limits have refused it.
    pub(super) fn is_refused(&self) -> bool {
        self.admission.refusal().is_some()
    }

    /// Whether a refusal is to be logged: a line for each would let a client fill the log.
    pub(super) fn should_log(&self) -> bool {
        self.admission.should_log(self.client.network)
    }

    /// The name of its limit; empty where it has none.
    pub(super) fn limit_name(&self) -> &'static str {
        self.admission.name().unwrap_or_default()
    }

    /// Adds the headers of rate limits and CORS.
    pub(super) fn add_headers(self, headers: &mut HeaderMap) {
        self.admission.write(headers);
        self.gate.cors.write(self.sharing, self.route, headers);
    }
}
