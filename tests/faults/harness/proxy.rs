//! A way between the service and its database that a test may delay, stall and cut.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::{Server, until};

/// How bytes pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Free,
    /// After this time, each way.
    Delayed(Duration),
    /// Not at all; they wait.
    Stalled,
}

/// Listens on 127.0.0.1 and passes on to a server's socket. Gone when dropped, and every connection with it.
pub struct Proxy {
    addr: SocketAddr,
    ways: Arc<Ways>,
    accepting: AbortHandle,
}

struct Ways {
    socket: PathBuf,
    flow: watch::Sender<Flow>,
    /// Connections end when this changes.
    cut: watch::Sender<usize>,
    /// Connections of before this change never pass a byte again, nor say that they have ended.
    lost: watch::Sender<usize>,
    /// Pieces from the service that came since the last stall began.
    held: AtomicUsize,
}

impl Proxy {
    pub async fn before(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let ways = Arc::new(Ways {
            socket: server.socket(),
            flow: watch::Sender::new(Flow::Free),
            cut: watch::Sender::new(0),
            lost: watch::Sender::new(0),
            held: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&ways))).abort_handle();
        Self { addr, ways, accepting }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn flow(&self) {
        self.ways.flow.send_replace(Flow::Free);
    }

    pub fn delay(&self, each_way: Duration) {
        self.ways.flow.send_replace(Flow::Delayed(each_way));
    }

    pub fn stall(&self) {
        self.ways.held.store(0, Ordering::Relaxed);
        self.ways.flow.send_replace(Flow::Stalled);
    }

    /// Waits until `count` pieces from the service wait for the end of a stall.
    pub async fn holds(&self, count: usize) {
        until("requests on the way", async || self.ways.held.load(Ordering::Relaxed) >= count).await;
    }

    /// Connections that are open.
    pub fn carries(&self) -> usize {
        self.ways.cut.receiver_count()
    }

    /// Closes every connection, whatever is under way on it.
    pub fn cut(&self) {
        self.ways.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Forgets every connection, as a firewall does that restarts: neither side hears of it. New ones pass.
    pub fn lose(&self) {
        self.ways.lost.send_modify(|losses| *losses += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, ways: Arc<Ways>) {
    loop {
        let (service, _) = listener.accept().await.unwrap();
        let ways = Arc::clone(&ways);
        tokio::spawn(async move { ways.connect(service).await });
    }
}

impl Ways {
    async fn connect(&self, service: TcpStream) {
        let (mut cut, mut lost) = (self.cut.subscribe(), self.lost.subscribe());
        let passing = async {
            service.set_nodelay(true).unwrap();
            // A server that is down refuses; a closed connection says the same.
            let Ok(server) = UnixStream::connect(&self.socket).await else { return };
            let ((from_service, to_service), (from_server, to_server)) = (service.into_split(), server.into_split());
            let mut both = pin!(async {
                tokio::select! {
                    () = self.pass(from_service, to_server, Some(&self.held)) => {}
                    () = self.pass(from_server, to_service, None) => {}
                }
            });
            tokio::select! {
                () = &mut both => {}
                // Both sockets stay open with it, and nobody reads them.
                _ = lost.changed() => std::future::pending().await,
            }
        };
        tokio::select! {
            () = passing => {}
            _ = cut.changed() => {}
        }
    }

    async fn pass(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        held: Option<&AtomicUsize>,
    ) {
        let mut flow = self.flow.subscribe();
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            let arrived = Instant::now();
            if let Some(held) = held.filter(|_| *flow.borrow() == Flow::Stalled) {
                held.fetch_add(1, Ordering::Relaxed);
            }
            let Ok(how) = flow.wait_for(|flow| *flow != Flow::Stalled).await.map(|flow| *flow) else { return };
            if let Flow::Delayed(delay) = how {
                sleep_until(arrived + delay).await;
            }
            if to.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    }
}
