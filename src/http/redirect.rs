//! The listener for plain HTTP beside HTTPS: it sends every request to HTTPS, and answers an authority's http-01 challenge.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONNECTION, HOST, HeaderValue, LOCATION};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::error::{Format, Refusal};
use super::listener::{Acceptor, Slot, Slots};
use super::networks::Networks;
use super::reply::Reply;
use super::request_id::REQUEST_ID;
use super::service::{OverLimit, RateRefusals, Service};
use super::tls::Tls;
use super::wire::{Spoken, Wire};
use crate::config;

/// Where authorities look for the answer to a challenge (RFC 8555, section 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";
const HTTPS_PORT: u16 = 443;

/// The redirect of clients to HTTPS.
#[derive(Debug)]
pub struct Redirect {
    /// Its gate, metrics and request ids are shared with HTTPS.
    pub service: Arc<Service>,
    /// The challenges to answer.
    pub tls: Arc<Tls>,
    /// Connection limits of networks, shared with HTTPS.
    pub networks: Option<Arc<Networks>>,
    /// The port of HTTPS, as clients reach it.
    pub port: u16,
}

/// Serves until dropped, and its connections with it.
pub async fn serve(listener: &TcpListener, redirect: Arc<Redirect>, config: &config::Server) {
    let mut http1 = http1::Builder::new();
    http1.timer(TokioTimer::new()).header_read_timeout(config.header_timeout).max_buf_size(config.header_max_bytes);
    let slots = Slots::new(config.redirect_connections_max(), 0);
    let (networks, metrics) = (redirect.networks.as_ref(), redirect.service.metrics());
    let acceptor = Acceptor { listener, name: "redirect", slots: &slots, networks, has_handshake: false, metrics };
    let mut open = JoinSet::new();
    let begin = |stream, peer, slot| {
        while open.try_join_next().is_some() {}
        open.spawn(Arc::clone(&redirect).run(http1.clone(), stream, peer, slot));
    };
    acceptor.run(begin).await;
}

impl Redirect {
    async fn run(self: Arc<Self>, http1: http1::Builder, stream: TcpStream, peer: IpAddr, _slot: Slot) {
        let wire = Wire::new(stream, Arc::clone(&self.service), Spoken::Http1);
        let refused = RateRefusals::default();
        let respond = |request: Request<Incoming>| {
            let (redirect, refused) = (&self, &refused);
            async move {
                let mut response = redirect.answer(&request, peer).await;
                if refused.are_too_many_with(&response) {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        };
        if let Err(error) = http1.serve_connection(TokioIo::new(wire), service_fn(respond)).await {
            tracing::debug!(%error, "a connection to the redirect ended early");
        }
    }

    async fn answer(&self, request: &Request<Incoming>, peer: IpAddr) -> Response<Full<Bytes>> {
        let admitted = self.service.gate().admit_to_redirect(request.headers(), peer).await;
        let is_over_limit = admitted.is_err();
        let (route, mut reply) = if let Err(refusal) = admitted {
            ("redirect", refusal.into_reply(Format::Envelope))
        } else if let Some(reply) = self.challenge(request) {
            ("acme_challenge", reply)
        } else {
            let refuse = || Refusal::BAD_HOST.into_reply(Format::Envelope);
            ("redirect", target(request, self.port).map_or_else(refuse, send_to))
        };
        let id = self.service.next_id();
        let status = reply.status;
        self.service.metrics().requests.with_label_values(&[route, status.as_str()]).inc();
        // At debug level: such requests are cheap, and lines would fill the log. The metrics count each.
        tracing::debug!(route, status = status.as_u16(), request_id = id.to_str().unwrap_or_default(), "request");
        reply.headers.insert(REQUEST_ID, id);
        // An unread body would be taken for the next request.
        if self.service.is_draining() || !request.body().is_end_stream() {
            reply.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let mut response = reply.into_response(request.method() == Method::HEAD);
        if is_over_limit {
            response.extensions_mut().insert(OverLimit);
        }
        response
    }

    fn challenge(&self, request: &Request<Incoming>) -> Option<Reply> {
        let token = request.uri().path().strip_prefix(CHALLENGES)?;
        let answer = self.tls.served().key_authorization(token)?;
        Some(Reply::of_type(StatusCode::OK, "application/octet-stream", answer))
    }
}

fn send_to(location: HeaderValue) -> Reply {
    let mut reply = Reply::new(StatusCode::PERMANENT_REDIRECT, Bytes::new());
    reply.headers.insert(LOCATION, location);
    reply
}

/// The same URL by HTTPS; `None` unless the request names one valid host. Headers of proxies are ignored, because a
/// client may have made them up.
fn target<B>(request: &Request<B>, port: u16) -> Option<HeaderValue> {
    if request.method() == Method::CONNECT {
        return None;
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next().filter(|_| hosts.next().is_none())?;
    let asked = Authority::try_from(host.as_bytes()).ok()?;
    // An absolute URI takes precedence over the header (RFC 9112, section 3.2.2). If they differ, it is unclear which
    // of them is meant.
    if request.uri().authority().is_some_and(|authority| *authority != asked) {
        return None;
    }
    let host = asked.host();
    let port_asked = asked.as_str().strip_prefix(host)?;
    let is_port = port_asked.strip_prefix(':').map_or(port_asked.is_empty(), |port| port.parse::<u16>().is_ok());
    if !is_host(host) || !is_port {
        return None;
    }
    let rest = request.uri().path_and_query().map_or("/", |rest| rest.as_str());
    let rest = if rest.starts_with('/') { rest } else { "/" };
    let location = match port {
        HTTPS_PORT => format!("https://{host}{rest}"),
        port => format!("https://{host}:{port}{rest}"),
    };
    HeaderValue::try_from(location).ok()
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|addr| addr.parse::<std::net::Ipv6Addr>().is_ok()),
        None => !host.is_empty() && host.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target_of(uri: &str, hosts: &[&'static str], port: u16) -> Option<String> {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        target(&request.body(()).unwrap(), port).map(|place| place.to_str().unwrap().to_owned())
    }

    #[test]
    fn path_and_query_are_kept_and_the_port_is_that_of_https() {
        let path = "/a%20b//c?d=e&f=%2F";
        for (host, port, expected) in [
            ("a.example", 443, "https://a.example"),
            ("a.example:80", 443, "https://a.example"),
            ("a.example:8080", 8443, "https://a.example:8443"),
            ("192.0.2.1", 443, "https://192.0.2.1"),
            ("[2001:db8::1]:80", 8443, "https://[2001:db8::1]:8443"),
        ] {
            assert_eq!(target_of(path, &[host], port).as_deref(), Some(format!("{expected}{path}").as_str()), "{host}");
        }
        assert_eq!(target_of("http://b.example/x", &["a.example"], 443), None, "of two hosts one is not meant");
        assert_eq!(target_of("http://a.example/x", &["A.example"], 443).as_deref(), Some("https://A.example/x"));
        assert_eq!(target_of("//b.example/x", &["a.example"], 443).as_deref(), Some("https://a.example//b.example/x"));
        assert_eq!(target_of("*", &["a.example"], 443).as_deref(), Some("https://a.example/"));
    }

    #[test]
    fn a_request_of_no_host_has_nowhere_to_go() {
        for host in
            ["", ":80", "a b", "a.example/x", "u@a.example", "a.example:x", "a.example:99999", "[::1", "[x]", "a%2e"]
        {
            assert_eq!(target_of("/", &[host], 443), None, "{host:?}");
        }
        assert_eq!(target_of("/", &[], 443), None);
        assert_eq!(target_of("/", &["a.example", "a.example"], 443), None);
    }
}
