//! One request: from its head to its answer, its line in the log and its place in the metrics.

mod head;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::{ALLOW, CONNECTION, HeaderValue, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};

use super::body;
use super::client::Client;
use super::endpoint::{Call, Endpoint, Handler, Work};
use super::error::Refusal;
use super::gate::{Gate, Visit};
use super::metrics::HttpMetrics;
use super::reply::Reply;
use super::request_id::{REQUEST_ID, RequestIds};
use super::route_metrics::RouteMetrics;
use super::router::{Found, Route, Router};
use crate::config;
use crate::config::https::Https;
use crate::domain::network::Network;
use head::{format_of, is_known, is_well_framed, size_of};

/// Records refusals by the rate limits.
pub trait Record: fmt::Debug + Send + Sync {
    /// Records that a network was over the limit of this name.
    fn limit_hit(&self, limit: &'static str, network: Network);
}

/// Answers requests.
#[derive(Debug)]
pub struct Service {
    gate: Gate,
    metrics: Arc<HttpMetrics>,
    route_metrics: RouteMetrics,
    router: Router,
    record: Box<dyn Record>,
    header_max_bytes: usize,
    body_max_bytes: usize,
    body_timeout: Duration,
    /// The HSTS header, where HTTPS is served.
    transport_security: Option<HeaderValue>,
    write_timeout: Duration,
    ids: RequestIds,
    draining: AtomicBool,
    in_flight: AtomicUsize,
    /// Requests that wait for password checks, counted apart: their long waits would keep all others out.
    hashing_in_flight: AtomicUsize,
    max_in_flight: usize,
}

impl Service {
    /// A service of these endpoints, behind this gate. `record` records refusals by the rate limits.
    #[must_use]
    pub fn new(
        router: Router,
        gate: Gate,
        record: Box<dyn Record>,
        metrics: Arc<HttpMetrics>,
        config: &config::Server,
    ) -> Self {
        Self {
            gate,
            route_metrics: RouteMetrics::new(Arc::clone(&metrics), &router),
            metrics,
            router,
            record,
            header_max_bytes: config.header_max_bytes,
            body_max_bytes: config.body_max_bytes,
            body_timeout: config.body_timeout,
            transport_security: transport_security(&config.https),
            write_timeout: config.write_timeout,
            ids: RequestIds::default(),
            draining: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            hashing_in_flight: AtomicUsize::new(0),
            max_in_flight: config.max_in_flight,
        }
    }

    /// From now on, asks every client to close its connection with its next answer.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the service is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Its metrics.
    pub fn metrics(&self) -> &HttpMetrics {
        &self.metrics
    }

    /// Its gate.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(super) fn transport_security(&self) -> Option<&HeaderValue> {
        self.transport_security.as_ref()
    }

    /// How long a client may take to read an answer.
    pub(super) fn write_timeout(&self) -> Duration {
        self.write_timeout
    }

    pub(super) fn next_id(&self) -> HeaderValue {
        self.ids.next()
    }

    /// Answers one request from `peer`. Every request gets an answer.
    pub async fn answer<B: Body + Unpin>(&self, request: Request<B>, peer: IpAddr) -> Response<Full<Bytes>> {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let (method, version) = (head.method.clone(), head.version);
        let id = self.ids.of(&head.headers);
        let format = format_of(&head.headers);
        let found = self.router.find(&method, head.uri.path());
        // hyper drops a Content-Length beside Transfer-Encoding, but a proxy in front may have framed the request by
        // it. The two would then disagree about where the next request begins (RFC 9112, section 6.1).
        let is_in_chunks = head.headers.contains_key(TRANSFER_ENCODING);
        let is_framed = version != Version::HTTP_11 || is_well_framed(&head.headers);
        let mut visit = self.gate.receive(&head, found, peer);
        let answer = match self.admit(&mut visit).await {
            Err(refusal) => Err(refusal),
            Ok(()) if !is_framed => Err(Refusal::MALFORMED_REQUEST),
            Ok(()) => self.dispatch(found, head, body, visit.client).await,
        };
        let mut reply = answer.unwrap_or_else(|refusal| refusal.into_reply(format));
        if (is_in_chunks || !is_framed || self.is_draining()) && version <= Version::HTTP_11 {
            reply.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // A line for each would let a flood fill the disk.
        let is_over_limit = visit.is_refused();
        if is_over_limit || !is_framed {
            self.route_metrics.count(found.route, reply.status, started.elapsed());
        } else {
            self.log(found.route, &method, &reply, started.elapsed(), &id);
        }
        visit.add_headers(&mut reply.headers);
        reply.headers.insert(REQUEST_ID, id);
        if let Some(policy) = &self.transport_security {
            reply.headers.insert(STRICT_TRANSPORT_SECURITY, policy.clone());
        }
        let mut response = reply.into_response(method == Method::HEAD);
        if is_over_limit {
            response.extensions_mut().insert(OverLimit);
        }
        response
    }

    /// Asks the limits; records a refusal, and logs it now and then.
    async fn admit(&self, visit: &mut Visit<'_>) -> Result<(), Refusal> {
        let admitted = visit.admit().await;
        if admitted.is_err() {
            let name = visit.limit_name();
            self.record.limit_hit(name, visit.client.network);
            if visit.should_log() {
                tracing::info!(class = name, "a network is over its rate limit");
            }
        }
        admitted
    }

    async fn dispatch<B: Body + Unpin>(
        &self,
        found: Found<'_>,
        head: Parts,
        body: B,
        client: Client,
    ) -> Result<Reply, Refusal> {
        if size_of(&head.headers) > self.header_max_bytes {
            return Err(Refusal::HEADERS_TOO_LARGE);
        }
        let route = found.route.ok_or(Refusal::NOT_FOUND)?;
        let Some(endpoint) = found.endpoint else {
            if head.method == Method::OPTIONS {
                return Ok(options(route));
            }
            return Err(Refusal::method_not_allowed(route.allow.clone()));
        };
        let all = match endpoint.work {
            Work::Light => &self.in_flight,
            Work::Hashing => &self.hashing_in_flight,
        };
        match &endpoint.handler {
            Handler::Plain(handle) => {
                let _inside = self.enter(all)?;
                handle(self.call(endpoint, head, client)).await
            }
            Handler::WithBody(handle) => {
                // Boxed, because hyper keeps room for the largest future of a handler on every connection.
                let body = body::receive(&head.headers, body, self.body_max_bytes, self.body_timeout);
                let bytes = Box::pin(body).await?;
                // It counts only once its body has arrived: clients that send none would keep others out.
                let _inside = self.enter(all)?;
                handle(self.call(endpoint, head, client), bytes)?.await
            }
        }
    }

    fn call(&self, endpoint: &Endpoint, head: Parts, client: Client) -> Call {
        let parameters = if endpoint.path.contains('{') { self.router.parameters(head.uri.path()) } else { Vec::new() };
        Call { head, client, parameters }
    }

    /// Counts one more request, if there is room for it.
    fn enter<'a>(&self, all: &'a AtomicUsize) -> Result<InFlight<'a>, Refusal> {
        let inside = InFlight::enter(all);
        if inside.count > self.max_in_flight { Err(Refusal::OVERLOADED) } else { Ok(inside) }
    }

    /// Counts and logs one answer. The route's label stands for the path, which may hold addresses and tokens.
    fn log(&self, route: Option<&Route>, method: &Method, reply: &Reply, took: Duration, id: &HeaderValue) {
        let path = self.route_metrics.count(route, reply.status, took);
        tracing::info!(
            // A client chooses length and text of an extension method.
            method = if is_known(method) { method.as_str() } else { "other" },
            route = path,
            status = reply.status.as_u16(),
            duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            user_id = reply.user.map(tracing::field::display),
            request_id = id.to_str().unwrap_or_default(),
            "request"
        );
    }
}

/// Marks the answer to a request that was over its rate limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct OverLimit;

/// Refusals by a rate limit on one connection, after which it is closed.
const RATE_REFUSALS_MAX: u32 = 200;

/// The refusals by a rate limit on one connection.
#[derive(Debug, Default)]
pub(super) struct RateRefusals(AtomicU32);

impl RateRefusals {
    /// Counts an answer; returns whether its connection has had enough refusals.
    pub(super) fn are_too_many_with<B>(&self, response: &Response<B>) -> bool {
        response.extensions().get::<OverLimit>().is_some()
            && self.0.fetch_add(1, Ordering::Relaxed) >= RATE_REFUSALS_MAX
    }
}

/// A request that is being answered. It counts until it is dropped, because its client may leave at any await.
struct InFlight<'a> {
    all: &'a AtomicUsize,
    /// Requests inside, with this one.
    count: usize,
}

impl<'a> InFlight<'a> {
    fn enter(all: &'a AtomicUsize) -> Self {
        Self { all, count: all.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

fn options(route: &Route) -> Reply {
    let mut reply = Reply::new(StatusCode::NO_CONTENT, Bytes::new());
    reply.headers.insert(ALLOW, route.allow.clone());
    reply
}

/// The HSTS header (RFC 6797), which plain HTTP must not send (section 7.2).
fn transport_security(config: &Https) -> Option<HeaderValue> {
    config.certificate.as_ref()?;
    HeaderValue::try_from(format!("max-age={}", config.hsts_max_age?.as_secs())).ok()
}
