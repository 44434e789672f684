//! Connections to the first usable one of several hosts, with a deadline for each.
//!
//! The driver's timeout covers only the opening of a socket. It would wait forever for a frozen server whose system
//! still accepts connections, and never try the next host. Here each address has the whole
//! `database.connect_timeout_ms` until it is usable, and the host that was usable last is tried first.

mod endpoint;

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use thiserror::Error;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_postgres::config::{Host, LoadBalanceHosts};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{CancelToken, Config, Error, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{cancel, root_cause};
use endpoint::shared;
pub(super) use endpoint::{Endpoint, endpoints};

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The driver's cause.
    #[error("{}", root_cause(.0))]
    Driver(#[from] Error),
    /// The name of the host does not resolve.
    #[error("{0}")]
    Name(io::Error),
    /// The host did not answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Silence(Duration),
    /// Several addresses failed, each with a cause of its own.
    #[error("{}", .0.iter().map(|(place, cause)| format!("{place}: {cause}")).collect::<Vec<_>>().join("; "))]
    Several(Vec<(String, Self)>),
    /// The URL names no host.
    #[error("no host is named")]
    NoHost,
}

impl ConnectError {
    /// One error for the causes of all addresses, each with its host.
    fn of(mut causes: Vec<(String, Self)>) -> Self {
        // A name's addresses often fail alike.
        causes.dedup_by(|a, b| a.0 == b.0 && a.1.to_string() == b.1.to_string());
        if causes.len() > 1 { Self::Several(causes) } else { causes.pop().map_or(Self::NoHost, |(_, cause)| cause) }
    }
}

/// The hosts of a URL.
pub(super) struct Hosts {
    endpoints: Vec<Endpoint>,
    /// The settings of the URL that hold for all hosts.
    settings: Config,
    tls: Option<MakeRustlsConnect>,
    /// SQL that every new connection begins with.
    opening: Option<String>,
    /// Deadline of one address.
    limit: Duration,
    /// Index of the host that the next attempt begins with.
    first: AtomicUsize,
}

impl Hosts {
    pub(super) fn new(
        settings: &Config,
        tls: Option<MakeRustlsConnect>,
        opening: Option<String>,
        limit: Duration,
    ) -> Self {
        Self {
            endpoints: endpoints(settings),
            settings: shared(settings),
            tls,
            opening,
            limit,
            first: AtomicUsize::new(0),
        }
    }

    /// Connects to the first host that accepts, beginning with the one that did last time.
    pub(super) async fn open(&self) -> Result<ClientWrapper, ConnectError> {
        let begin = match self.settings.get_load_balance_hosts() {
            LoadBalanceHosts::Random => self.first.fetch_add(1, Ordering::Relaxed),
            _ => self.first.load(Ordering::Relaxed),
        };
        let mut causes = Vec::new();
        for at in (0..self.endpoints.len()).map(|step| begin.wrapping_add(step) % self.endpoints.len()) {
            let Some(host) = self.endpoints.get(at) else { continue };
            // Until it has connected, the next attempt begins behind it: this future may be dropped before its
            // deadline.
            let doubt = Doubt { hosts: self, at };
            match self.open_host(host).await {
                Ok(opened) => {
                    std::mem::forget(doubt);
                    return Ok(opened);
                }
                Err(cause) => causes.extend(cause),
            }
        }
        Err(ConnectError::of(causes))
    }

    /// Cancels the current statement of `token`'s connection on the server.
    pub(super) fn cancel(&self, token: CancelToken) {
        cancel::send(token, self.tls.clone(), self.limit);
    }

    /// Connects to one host, at the first of its addresses that accepts.
    async fn open_host(&self, host: &Endpoint) -> Result<ClientWrapper, Vec<(String, ConnectError)>> {
        let mut causes = Vec::new();
        let addresses = match self.addresses(host).await {
            Ok(addresses) => addresses,
            Err(cause) => return Err(vec![(host.place(), cause)]),
        };
        for addr in addresses {
            let mut settings = self.settings.clone();
            host.write_to(&mut settings, addr);
            match timeout(self.limit, self.dial(&settings, host)).await {
                Ok(Ok(opened)) => return Ok(opened),
                Ok(Err(error)) => causes.push((host.place(), error.into())),
                Err(_) => causes.push((host.place(), ConnectError::Silence(self.limit))),
            }
        }
        Err(causes)
    }

    /// The addresses of a host; a socket needs none.
    async fn addresses(&self, host: &Endpoint) -> Result<Vec<Option<IpAddr>>, ConnectError> {
        let (None, Some(Host::Tcp(name))) = (host.addr, &host.host) else { return Ok(vec![host.addr]) };
        let found = timeout(self.limit, lookup_host((name.as_str(), host.port)))
            .await
            .map_err(|_| ConnectError::Silence(self.limit))?
            .map_err(ConnectError::Name)?;
        Ok(found.map(|addr| Some(addr.ip())).collect())
    }

    async fn dial(&self, settings: &Config, host: &Endpoint) -> Result<ClientWrapper, Error> {
        let opened = match &self.tls {
            Some(tls) if !host.is_socket() => connect(settings, tls.clone()).await?,
            _ => connect(settings, NoTls).await?,
        };
        if let Some(opening) = &self.opening {
            opened.batch_execute(opening).await?;
        }
        Ok(opened)
    }

    /// Lets the next attempt begin behind this host, unless another attempt has already changed that.
    fn pass_by(&self, at: usize) {
        let next = (at + 1) % self.endpoints.len().max(1);
        // Another attempt may have found a usable host meanwhile.
        let _ = self.first.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// A host that has not accepted a connection yet. If the attempt fails or is dropped, the next one begins behind it.
struct Doubt<'a> {
    hosts: &'a Hosts,
    at: usize,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        self.hosts.pass_by(self.at);
    }
}

async fn connect<T>(settings: &Config, tls: T) -> Result<ClientWrapper, Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = settings.connect(tls).await?;
    let speaking = async move {
        if let Err(error) = connection.await {
            tracing::warn!(cause = root_cause(&error), "a database connection broke");
        }
    };
    Ok(ClientWrapper::new(client, tokio::spawn(speaking)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has said what it had to say")]

    use super::*;

    fn hosts(url: &str) -> Hosts {
        Hosts::new(&url.parse().unwrap(), None, None, Duration::from_secs(1))
    }

    #[test]
    fn every_setting_of_a_url_reaches_every_host() {
        let url = "postgresql://me:secret@one:1,two:2/db?options=-c%20geqo%3Doff&application_name=app&sslmode=require\
            &sslnegotiation=direct&connect_timeout=7&tcp_user_timeout=8&keepalives=0&keepalives_idle=9\
            &keepalives_interval=10&keepalives_retries=11&target_session_attrs=read-write&channel_binding=require\
            &load_balance_hosts=random";
        let hosts = hosts(url);
        assert_eq!(hosts.endpoints.iter().map(Endpoint::place).collect::<Vec<_>>(), ["one:1", "two:2"]);
        let mut settings = hosts.settings.clone();
        hosts.endpoints[1].write_to(&mut settings, None);
        assert_eq!(settings, url.replace("one:1,", "").parse().unwrap());
    }

    #[test]
    fn a_host_is_passed_by_once_however_many_were_waiting_for_it() {
        let hosts = hosts("postgresql://one,two,three/db");
        for _ in 0..5 {
            drop(Doubt { hosts: &hosts, at: 0 });
        }
        assert_eq!(hosts.first.load(Ordering::Relaxed), 1);
        drop(Doubt { hosts: &hosts, at: 1 });
        drop(Doubt { hosts: &hosts, at: 2 });
        assert_eq!(hosts.first.load(Ordering::Relaxed), 0, "in a ring");
    }

    #[tokio::test]
    async fn a_refusal_names_every_host() {
        let hosts = hosts("postgresql://me@%2Fnowhere,%2Felsewhere/db");
        let said = hosts.open().await.unwrap_err().to_string();
        assert!(said.contains("/nowhere: No such file") && said.contains("; /elsewhere: No such file"), "{said}");
        assert_eq!(hosts.first.load(Ordering::Relaxed), 0, "all were passed by");
    }
}
