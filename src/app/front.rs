//! The front end: the listener, its certificate, and the redirect to it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::AppError;
use super::listeners::{bind, listen};
use super::running::{Running, Task};
use crate::config::Config;
use crate::http::limits::local::Buckets;
use crate::http::limits::{Limits, WIDER, wider};
use crate::http::networks::Networks;
use crate::http::redirect::{self, Redirect};
use crate::http::server::{self, Entrance};
use crate::http::service::Service;
use crate::http::tls::metrics::TlsMetrics;
use crate::http::tls::{Tls, Upkeep};
use crate::telemetry::{Health, Registry};

/// Listeners that are not served yet.
pub(super) struct Front {
    /// Its address.
    pub(super) addr: SocketAddr,
    listener: TcpListener,
    redirect: Option<TcpListener>,
    tls: Option<(Arc<Tls>, Upkeep)>,
}

impl Front {
    /// Listens, and reads the certificate.
    pub(super) async fn open(config: &Config, registry: &Registry) -> Result<Self, AppError> {
        let listener = listen(&config.server.host, config.server.port).await?;
        let addr = listener.local_addr().map_err(|error| AppError::Assembly(error.to_string()))?;
        let redirect = match config.server.https.redirect_addr {
            Some(addr) => Some(bind(addr, "server.redirect_addr")?),
            None => None,
        };
        let tls = Tls::open(&config.server.https, &config.data_dir, TlsMetrics::register(registry)?)?;
        Ok(Self { addr, listener, redirect, tls: tls.map(|(tls, upkeep)| (Arc::new(tls), upkeep)) })
    }

    pub(super) fn redirect_addr(&self) -> Option<SocketAddr> {
        self.redirect.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    pub(super) fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.as_ref().map(|(tls, _)| Arc::clone(tls))
    }

    /// Starts serving. On stop, accepted requests are answered before the rest of `running` stops.
    pub(super) fn serve(self, service: &Arc<Service>, config: &Config, health: &Arc<Health>, running: &mut Running) {
        let networks = networks(config, service.gate().limits());
        let (tls, upkeep) = self.tls.unzip();
        if let Some(networks) = networks.clone() {
            let part = health.loop_part("networks");
            running.add_task(tokio::spawn(part.keep_running(move || Arc::clone(&networks).sweep())));
        }
        if let Some(upkeep) = upkeep {
            let (part, upkeep) = (health.loop_part("certificate"), Arc::new(upkeep));
            running.add_task(tokio::spawn(part.keep_running(move || Arc::clone(&upkeep).run())));
        }
        let entrance = Entrance { tls: tls.clone(), networks: networks.clone() };
        if let (Some(listener), Some(tls)) = (self.redirect, tls) {
            let port = config.server.https.redirect_port.unwrap_or_else(|| self.addr.port());
            let redirect = Arc::new(Redirect { service: Arc::clone(service), tls, networks, port });
            let (redirecting, config) = (health.loop_part("redirect"), config.server.clone());
            running.add_task(tokio::spawn(async move {
                redirecting.keep_running(|| redirect::serve(&listener, Arc::clone(&redirect), &config)).await;
            }));
        }
        let (stop, stopped) = oneshot::channel();
        let accepting = (health.loop_part("accept"), stopped);
        let server = server::serve(self.listener, entrance, Arc::clone(service), config.server.clone(), accepting);
        let mut server = Task(tokio::spawn(server));
        running.add(|| async move {
            let _ = stop.send(());
            let _ = (&mut server.0).await;
        });
    }
}

/// The connection limits of networks; `None` where limits are off.
fn networks(config: &Config, limits: &Limits) -> Option<Arc<Networks>> {
    let (server, rates) = (&config.server, &config.limits.rates);
    let buckets = |rate| Buckets::new(rate, rates.keys_max, limits.overflows());
    let [wide, wider_still] = WIDER;
    let handshakes = |rate| [rate, wider(rate, wide), wider(rate, wider_still)].map(buckets);
    config.limits.enabled.then(|| {
        let handshakes = rates.handshake.map(handshakes);
        Networks::new(server.max_connections_per_address, handshakes, server.trusted_proxies.clone())
    })
}
