//! Two replicas behind `HAProxy` are restarted in turn: no client sees a request fail.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::program::Service;
use crate::harness::scratch::{Remembered, free_port, remember};
use crate::harness::{Api, EMAIL, Home, PASSWORD, Server, serve_on, until};

/// Restarts, of one replica after the other.
const RESTARTS: usize = 20;
/// Requests in all at least.
const REQUESTS: u32 = 25_000;
const CLIENTS: usize = 4;
/// Between two checks of a replica.
const CHECK_MS: u32 = 250;

/// A running `HAProxy`, killed when dropped.
struct Balancer {
    addr: SocketAddr,
    statistics: Api,
    process: Child,
    _remembered: Remembered,
}

impl Balancer {
    /// One before replicas at these ports, each with the port of its admin listener. It tries nothing twice.
    async fn before(home: &Home, replicas: &[(u16, u16)]) -> Self {
        let (port, statistics) = (free_port(), free_port());
        let check = format!("inter {CHECK_MS}ms fall 1 rise 1");
        let servers = replicas.iter().enumerate().fold(String::new(), |servers, (at, (port, admin))| {
            servers + &format!("  server replica{at} 127.0.0.1:{port} check port {admin} {check}\n")
        });
        let settings = format!(
            "global\n  maxconn 200\ndefaults\n  mode http\n  retries 0\n  timeout connect 2s\n  timeout client 20s\n\
             \x20 timeout server 20s\n  timeout http-keep-alive 10s\n\
             frontend clients\n  bind 127.0.0.1:{port}\n  default_backend replicas\n\
             frontend statistics\n  bind 127.0.0.1:{statistics}\n  stats enable\n  stats uri /\n\
             backend replicas\n  option httpchk GET /readyz\n{servers}"
        );
        let file = home.write("haproxy.cfg", &settings);
        let log = fs::File::create(home.path().join("haproxy.log")).unwrap();
        let mut command = Command::new(program());
        command.arg("-db").arg("-f").arg(file).stdin(Stdio::null());
        let process = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().expect("haproxy");
        let remembered = remember(process.id());
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        until("a balancer", async || TcpStream::connect(addr).await.is_ok()).await;
        let statistics = Api::new(SocketAddr::from(([127, 0, 0, 1], statistics)));
        Self { addr, statistics, process, _remembered: remembered }
    }

    /// Waits until it takes a replica for one that serves.
    async fn trusts(&self, at: usize) {
        let up = async || {
            let table = self.statistics.get("/;csv").await.text();
            let row = table.lines().find(|line| line.starts_with(&format!("replicas,replica{at},")));
            row.is_some_and(|row| row.split(',').nth(17) == Some("UP"))
        };
        until("a replica that serves", up).await;
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Debian keeps it outside the users' PATH.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    dirs.find_map(|dir| Some(dir.join("haproxy")).filter(|path| Path::is_file(path))).expect("an installed HAProxy")
}

async fn start(home: &Home, server: &Server, (port, admin): (u16, u16)) -> Service {
    serve_on(home, server)
        .env("API_PORT", &port.to_string())
        .env("ROLLCALL__TELEMETRY__ADMIN_ADDR", &format!("127.0.0.1:{admin}"))
        // Three checks, of which one may just have begun.
        .env("ROLLCALL__SERVER__DRAIN_NOTICE_MS", &(3 * CHECK_MS).to_string())
        .ready()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_behind_a_balancer_fails_no_request() {
    let (home, server) = (Home::new(), Server::start("").await);
    let ports = [(free_port(), free_port()), (free_port(), free_port())];
    let mut replicas = [Some(start(&home, &server, ports[0]).await), Some(start(&home, &server, ports[1]).await)];
    let balancer = Balancer::before(&home, &ports).await;
    balancer.trusts(0).await;
    balancer.trusts(1).await;
    let api = Api::new(balancer.addr);
    api.register_email(EMAIL).await.expect_json(201);
    let login = api.login(EMAIL, PASSWORD).await.expect_json(200);
    let token: Arc<str> = login["data"]["token"].as_str().unwrap().into();

    let (answered, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (api, token) = (Api::new(balancer.addr), Arc::clone(&token));
        let (answered, stop) = (Arc::clone(&answered), Arc::clone(&stop));
        clients.spawn(async move {
            let mut failed = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let answer = api.me(&token).await;
                answered.fetch_add(1, Ordering::Relaxed);
                if answer.status != 200 {
                    failed.push(answer);
                }
            }
            failed
        });
    }
    for round in 0..RESTARTS {
        let at = round % replicas.len();
        let stopped = replicas[at].take().unwrap().stop().await;
        assert_eq!(stopped.code, Some(0), "{stopped:?}");
        replicas[at] = Some(start(&home, &server, ports[at]).await);
        balancer.trusts(at).await;
    }
    until("enough requests", async || answered.load(Ordering::Relaxed) >= REQUESTS).await;
    stop.store(true, Ordering::Relaxed);
    let failed = clients.join_all().await.concat();
    let answered = answered.load(Ordering::Relaxed);
    println!("{} of {answered} requests failed in {RESTARTS} restarts", failed.len());
    assert!(failed.is_empty(), "{} of {answered}: {:?}", failed.len(), failed.first());
}
