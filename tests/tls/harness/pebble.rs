//! An ACME authority, and the DNS server that it asks.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::tls::{Authority, Files, try_connect};
use super::{Wire, free_ports, scratch, until};

/// Killed when dropped.
pub struct Pebble {
    port: u16,
    management: SocketAddr,
    own: Authority,
    pub ca_file: PathBuf,
    _processes: [Child; 2],
}

impl Pebble {
    /// One that looks for challenges at these ports.
    pub async fn start(tls_port: u16, plain_port: u16) -> Self {
        Self::with_validity(tls_port, plain_port, 90 * 86_400).await
    }

    /// One whose certificates hold for so many seconds.
    pub async fn with_validity(tls_port: u16, plain_port: u16, seconds: u64) -> Self {
        let [port, management_port, dns, dns_management] = free_ports();
        let (dir, own) = (scratch::dir(), Authority::new());
        let files = Files::of(&own.sign());
        let ca_file = dir.join("ca.pem");
        fs::write(&ca_file, &own.pem).unwrap();
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management_port}"),
            "certificate": files.certificate,
            "privateKey": files.key,
            "httpPort": plain_port,
            "tlsPort": tls_port,
            "certificateValidityPeriod": seconds,
        }});
        let config_file = dir.join("pebble.json");
        fs::write(&config_file, config.to_string()).unwrap();
        let dns_addr = format!("127.0.0.1:{dns}");
        // Every name leads to this machine.
        let mut names = Command::new("pebble-challtestsrv");
        names.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]);
        names.args(["-dns01", &dns_addr, "-management", &format!("127.0.0.1:{dns_management}")]);
        let mut pebble = Command::new("pebble");
        pebble.arg("-config").arg(&config_file).args(["-strict", "-dnsserver", &dns_addr]);
        pebble.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
        let management = SocketAddr::from(([127, 0, 0, 1], management_port));
        let processes = [spawn(names), spawn(pebble)];
        for port in [port, management_port, dns_management] {
            let addr = SocketAddr::from(([127, 0, 0, 1], port));
            until("pebble", async || TcpStream::connect(addr).await.is_ok()).await;
        }
        Self { port, management, own, ca_file, _processes: processes }
    }

    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// The certificate of who vouches for what it gives out; another one at each start.
    pub async fn root(&self) -> CertificateDer<'static> {
        let mut wire = Wire::over(try_connect(self.management, self.own.client(&["http/1.1"])).await.unwrap());
        wire.send("GET /roots/0 HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        CertificateDer::from_pem_slice(&wire.answer().await.body).unwrap()
    }
}

fn spawn(mut command: Command) -> Child {
    command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("{}: {error}", command.as_std().get_program().display()))
}
