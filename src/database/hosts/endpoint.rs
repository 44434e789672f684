//! The parts of a URL: its hosts, and the settings that hold for all of them.

use std::net::IpAddr;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// One host of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::database) struct Endpoint {
    pub(super) host: Option<Host>,
    pub(super) addr: Option<IpAddr>,
    pub(super) port: u16,
}

impl Endpoint {
    pub(super) fn is_socket(&self) -> bool {
        matches!(self.host, Some(Host::Unix(_)))
    }

    /// Its address in words.
    pub(in crate::database) fn place(&self) -> String {
        match (&self.host, self.addr) {
            (Some(Host::Tcp(name)), _) => format!("{name}:{}", self.port),
            (Some(Host::Unix(dir)), _) => dir.display().to_string(),
            (None, Some(addr)) => format!("{addr}:{}", self.port),
            (None, None) => "nowhere".to_owned(),
        }
    }

    pub(super) fn write_to(&self, settings: &mut Config, addr: Option<IpAddr>) {
        match &self.host {
            Some(Host::Tcp(name)) => drop(settings.host(name)),
            // A socket stays on this machine, so encryption has no use.
            Some(Host::Unix(dir)) => drop(settings.host_path(dir).ssl_mode(SslMode::Disable)),
            None => {}
        }
        if let Some(addr) = addr {
            settings.hostaddr(addr);
        }
        settings.port(self.port);
    }
}

/// The hosts that a URL names, in its order.
pub(in crate::database) fn endpoints(settings: &Config) -> Vec<Endpoint> {
    let (hosts, addrs, ports) = (settings.get_hosts(), settings.get_hostaddrs(), settings.get_ports());
    let endpoint = |at| Endpoint {
        host: hosts.get(at).cloned(),
        addr: addrs.get(at).copied(),
        port: ports.get(at).or(ports.first()).copied().unwrap_or(5432),
    };
    (0..hosts.len().max(addrs.len())).map(endpoint).collect()
}

/// The settings that hold for every host, without the hosts.
pub(super) fn shared(settings: &Config) -> Config {
    let mut shared = Config::new();
    for (value, set) in [
        (settings.get_user(), Config::user as fn(&mut Config, String) -> &mut Config),
        (settings.get_dbname(), Config::dbname),
        (settings.get_options(), Config::options),
        (settings.get_application_name(), Config::application_name),
    ] {
        if let Some(value) = value {
            set(&mut shared, value.to_owned());
        }
    }
    if let Some(password) = settings.get_password() {
        shared.password(password);
    }
    if let Some(limit) = settings.get_connect_timeout() {
        shared.connect_timeout(*limit);
    }
    if let Some(limit) = settings.get_tcp_user_timeout() {
        shared.tcp_user_timeout(*limit);
    }
    if let Some(interval) = settings.get_keepalives_interval() {
        shared.keepalives_interval(interval);
    }
    if let Some(retries) = settings.get_keepalives_retries() {
        shared.keepalives_retries(retries);
    }
    shared
        .keepalives(settings.get_keepalives())
        .keepalives_idle(settings.get_keepalives_idle())
        .ssl_mode(settings.get_ssl_mode())
        .ssl_negotiation(settings.get_ssl_negotiation())
        .target_session_attrs(settings.get_target_session_attrs())
        .channel_binding(settings.get_channel_binding())
        .load_balance_hosts(settings.get_load_balance_hosts());
    shared
}
