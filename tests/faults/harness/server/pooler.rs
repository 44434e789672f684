//! PgBouncer between the service and its database: each transaction may have another of a few connections.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::net::TcpStream;

use super::super::scratch::{self, Remembered};
use super::super::until;
use super::{Server, USER, as_owner, own_dir};
use crate::harness::scratch::free_port;

/// Connections that it has to the database.
pub const CONNECTIONS: i64 = 3;

/// A running PgBouncer, killed when dropped.
pub struct Pooler {
    dir: PathBuf,
    port: u16,
    process: Option<(Child, Remembered)>,
}

impl Pooler {
    /// One that shares connections to `server` between transactions.
    pub async fn before(server: &Server) -> Self {
        let dir = scratch::dir().join("pooler");
        own_dir(&dir);
        let mut pooler = Self { dir, port: free_port(), process: None };
        let settings = format!(
            "[databases]\n{USER} = host={} port={} user={USER}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = {CONNECTIONS}\nmax_client_conn = 200\n",
            server.socket_dir().display(),
            server.port,
            pooler.port,
        );
        fs::write(pooler.dir.join("pgbouncer.ini"), settings).unwrap();
        pooler.resume().await;
        pooler
    }

    /// Starts it, again or for the first time, and waits until it accepts connections.
    pub async fn resume(&mut self) {
        let mut command = as_owner(Command::new(program()));
        command.arg("pgbouncer.ini").current_dir(&self.dir).stdin(Stdio::null());
        let log = fs::File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().expect("pgbouncer");
        let remembered = scratch::remember(child.id());
        self.process = Some((child, remembered));
        until("a pooler", async || TcpStream::connect(self.addr()).await.is_ok()).await;
    }

    pub fn kill(&mut self) {
        if let Some((mut child, _)) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Debian keeps it outside the users' PATH.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    dirs.find_map(|dir| Some(dir.join("pgbouncer")).filter(|path| Path::is_file(path))).expect("an installed PgBouncer")
}
