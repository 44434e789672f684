//! The addresses that the service listens on.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::net::{TcpListener, lookup_host};

use super::AppError;
use crate::config::{Config, Telemetry};
use crate::http::listener;

/// Checks that the service can listen on all its addresses; releases them at the end.
///
/// # Errors
/// [`AppError::Listen`].
pub async fn check(config: &Config) -> Result<(), AppError> {
    listen(&config.server.host, config.server.port).await?;
    if let Some(addr) = config.server.https.redirect_addr {
        bind(addr, "server.redirect_addr")?;
    }
    open_admin(&config.telemetry).map(drop)
}

/// Other programs use port 9000, too: where it is only the default, the service starts without it.
pub(super) fn open_admin(config: &Telemetry) -> Result<Option<TcpListener>, AppError> {
    let Some(addr) = config.admin_addr else { return Ok(None) };
    match bind(addr, "telemetry.admin_addr") {
        Ok(listener) => Ok(Some(listener)),
        Err(AppError::Listen { addr, cause, .. })
            if config.admin_is_default && cause.kind() == ErrorKind::AddrInUse =>
        {
            tracing::warn!(
                "{addr} is taken: no metrics and health; choose an address with telemetry.admin_addr, or off"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn listen(host: &str, port: u16) -> Result<TcpListener, AppError> {
    // An IPv6 address may be written with or without its brackets.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let listen = async {
        let mut outcome = Err(io::ErrorKind::AddrNotAvailable.into());
        for addr in lookup_host((host, port)).await? {
            outcome = listener::listen(addr);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    };
    listen.await.map_err(|cause| AppError::Listen {
        addr: format!("{host}:{port}"),
        key: "server.host (API_HOST) and server.port (API_PORT)",
        cause,
    })
}

pub(super) fn bind(addr: SocketAddr, key: &'static str) -> Result<TcpListener, AppError> {
    listener::listen(addr).map_err(|cause| AppError::Listen { addr: addr.to_string(), key, cause })
}
