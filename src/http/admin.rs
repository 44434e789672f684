//! The admin listener: metrics and health, on an address of its own that clients do not reach.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use super::error::{Format, Refusal};
use super::listener::{Acceptor, Slot, Slots};
use super::reply::Reply;
use super::request_id::REQUEST_ID;
use super::send_buffer;
use super::service::Service;
use super::tls::Tls;
use crate::telemetry::{Health, Registry};

/// Deadline of a probe of the database.
const READY_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for a scraper to send a request, counted from its connection or from the request before.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at once: scrapers and health checks need few.
const CONNECTIONS_MAX: usize = 64;
/// With fewer slots free, new connections have less time for a request, so that health checks get in.
const CONNECTIONS_SCARCE: usize = 32;
const HEADER_TIMEOUT_WHEN_SCARCE: Duration = Duration::from_millis(250);
/// How long the result of a probe is used for other requests.
const PROBE_LIFETIME: Duration = Duration::from_millis(250);

/// A database that can be probed.
pub trait Database: Send + Sync {
    /// Whether it answers, within `limit`.
    fn answers(&self, limit: Duration) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

/// Whether certain work could be taken now.
pub struct Readiness {
    /// Its path, such as `/readyz/logins`.
    pub path: &'static str,
    /// Why the work could not be taken now; `None` where it could.
    pub obstacle: Box<dyn Fn() -> Option<&'static str> + Send + Sync>,
}

/// The parts that the admin listener reports on.
pub struct Admin {
    /// The service, which knows whether it is about to stop.
    pub service: Arc<Service>,
    /// Whether certain work could be taken, each at a path of its own below `/readyz`.
    pub readiness: Vec<Readiness>,
    /// Bring gauges up to date before metrics are read.
    pub reports: Vec<Box<dyn Fn() + Send + Sync>>,
    /// All metrics.
    pub registry: Registry,
    /// Its parts, and whether they are up.
    pub health: Arc<Health>,
    /// Its database.
    pub database: Box<dyn Database>,
    /// Its certificate, where it speaks TLS.
    pub tls: Option<Arc<Tls>>,
    /// When the database was last asked, and whether it answered.
    pub probe: Mutex<Option<(Instant, bool)>>,
}

/// Serves until dropped.
pub async fn serve(listener: &TcpListener, admin: Arc<Admin>) {
    send_buffer::bound(listener);
    let slots = Arc::new(Slots::new(CONNECTIONS_MAX, CONNECTIONS_SCARCE));
    let metrics = admin.service.metrics();
    let acceptor = Acceptor { listener, name: "admin", slots: &slots, networks: None, has_handshake: false, metrics };
    let begin = |stream, _, slot| {
        let header_timeout = if slots.are_scarce() { HEADER_TIMEOUT_WHEN_SCARCE } else { HEADER_TIMEOUT };
        tokio::spawn(Arc::clone(&admin).run(stream, header_timeout, (Arc::clone(&slots), slot)));
    };
    acceptor.run(begin).await;
}

impl Admin {
    async fn run(self: Arc<Self>, stream: TcpStream, header_timeout: Duration, (slots, _slot): (Arc<Slots>, Slot)) {
        let respond = service_fn(|request| {
            let (admin, is_full) = (&self, slots.are_taken());
            async move {
                let mut answer = admin.answer(&request).await;
                // Another connection may be waiting for the slot.
                if is_full {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .serve_connection(TokioIo::new(stream), respond)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "an admin connection ended early");
        }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let is_head = request.method() == Method::HEAD;
        let mut reply = if is_head || request.method() == Method::GET {
            match request.uri().path() {
                "/metrics" => self.metrics().await,
                "/livez" => self.liveness(),
                "/readyz" => self.readiness().await,
                path => match self.readiness.iter().find(|readiness| readiness.path == path) {
                    Some(readiness) => self.readiness_for(readiness).await,
                    None => Refusal::NOT_FOUND.into_reply(Format::Envelope),
                },
            }
        } else {
            Refusal::method_not_allowed(HeaderValue::from_static("GET, HEAD")).into_reply(Format::Envelope)
        };
        self.service.metrics().admin_requests.with_label_values(&[reply.status.as_str()]).inc();
        reply.headers.insert(REQUEST_ID, self.service.next_id());
        reply.into_response(is_head)
    }

    async fn metrics(&self) -> Reply {
        self.database_answers().await;
        self.reports.iter().for_each(|report| report());
        self.service.gate().limits().report();
        Reply::of_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.registry.render())
    }

    /// Alive unless a part keeps dying: a new process is the better start then.
    fn liveness(&self) -> Reply {
        match self.health.failing() {
            None => health(StatusCode::OK, "ok"),
            Some(part) => health(StatusCode::SERVICE_UNAVAILABLE, format!("{part} fails again and again")),
        }
    }

    /// Ready for certain work: ready, and the work has no obstacle. It has paths of its own, because a storm of such
    /// work reaches all replicas at once, and all of them shall go on serving everything else.
    async fn readiness_for(&self, readiness: &Readiness) -> Reply {
        match (readiness.obstacle)() {
            Some(obstacle) => health(StatusCode::SERVICE_UNAVAILABLE, obstacle),
            None => self.readiness().await,
        }
    }

    /// Ready for the next request: not stopping, with every part up, and with a database that answers.
    async fn readiness(&self) -> Reply {
        if self.service.is_draining() {
            return health(StatusCode::SERVICE_UNAVAILABLE, "stopping");
        }
        if let Some(part) = self.health.down() {
            return health(StatusCode::SERVICE_UNAVAILABLE, format!("{part} is being restarted"));
        }
        // An ACME authority may not have issued one yet.
        if self.tls.as_ref().is_some_and(|tls| !tls.served().has_certificate()) {
            return health(StatusCode::SERVICE_UNAVAILABLE, "no certificate");
        }
        if self.database_answers().await {
            health(StatusCode::OK, "ok")
        } else {
            health(StatusCode::SERVICE_UNAVAILABLE, "no database")
        }
    }

    /// Probes the database: one probe at a time, and one per [`PROBE_LIFETIME`], so that probes leave the pool to
    /// requests.
    async fn database_answers(&self) -> bool {
        let mut probe = self.probe.lock().await;
        if let Some((asked, answers)) = *probe
            && asked.elapsed() < PROBE_LIFETIME
        {
            return answers;
        }
        let answers = self.database.answers(READY_TIMEOUT).await;
        *probe = Some((Instant::now(), answers));
        answers
    }
}

fn health(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    Reply::of_type(status, "text/plain; charset=utf-8", text)
}
