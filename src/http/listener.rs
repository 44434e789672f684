//! Listeners: how they listen, and the loop that accepts their connections within a number of slots.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::metrics::HttpMetrics;
use super::networks::{self, Networks};

/// More than any system allows: each applies its own bound (Linux, `net.core.somaxconn`).
const BACKLOG: u32 = 65_535;
/// Pause after a failed accept. Without a free file descriptor, a retry at once would spin.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause between two log lines about connections that cannot be accepted.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Listens on `addr`, with as many connections in the backlog as the system allows.
///
/// # Errors
/// The system's.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Allows a port on which connections of the last process are not over yet.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// A listener and the bounds on its connections.
pub(super) struct Acceptor<'a> {
    pub(super) listener: &'a TcpListener,
    /// Its name in metrics and logs.
    pub(super) name: &'static str,
    pub(super) slots: &'a Slots,
    /// Connection limits of networks; `None`: no limits.
    pub(super) networks: Option<&'a Arc<Networks>>,
    /// Whether its connections begin with a handshake.
    pub(super) has_handshake: bool,
    pub(super) metrics: &'a HttpMetrics,
}

impl Acceptor<'_> {
    /// Accepts connections until dropped, and gives each to `begin`, with its slot.
    pub(super) async fn run(&self, mut begin: impl FnMut(TcpStream, IpAddr, Slot)) {
        let mut logged: Option<Instant> = None;
        while let Some(slot) = self.slots.take().await {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let networks = self.networks.map(|networks| networks.enter(peer.ip(), self.has_handshake));
                    if matches!(networks, Some(None)) {
                        self.metrics.connections_refused.inc();
                        continue;
                    }
                    // Answers are written whole; waiting to fill a packet would only delay them.
                    let _ = stream.set_nodelay(true);
                    begin(stream, peer.ip(), Slot { _own: slot, _networks: networks.flatten() });
                    // Lets ready tasks run before the next connection: hundreds may arrive in one moment.
                    yield_now().await;
                }
                Err(error) if is_client_gone(&error) => {}
                Err(error) => {
                    self.metrics.accept_errors.with_label_values(&[self.name]).inc();
                    if logged.is_none_or(|logged| logged.elapsed() > LOG_EVERY) {
                        tracing::error!(listener = self.name, %error, "connections cannot be accepted");
                        logged = Some(Instant::now());
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// The slot of one connection, and its slot of the network; returned when dropped.
pub(super) struct Slot {
    _own: OwnedSemaphorePermit,
    _networks: Option<networks::Slot>,
}

/// The slots of a listener's connections. The accept loop takes one before it accepts a connection.
pub(super) struct Slots {
    free: Arc<Semaphore>,
    /// With fewer free, they are scarce.
    scarce: usize,
    became_scarce: Notify,
}

impl Slots {
    /// `count` slots, which are scarce when fewer than `scarce` are free.
    pub(super) fn new(count: usize, scarce: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), scarce, became_scarce: Notify::new() }
    }

    /// Waits for a free one.
    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        let slot = Arc::clone(&self.free).acquire_owned().await.ok()?;
        let were_scarce = self.free.available_permits() + 1 < self.scarce;
        if self.are_scarce() && !were_scarce {
            self.became_scarce.notify_waiters();
        }
        Some(slot)
    }

    /// Whether few are free.
    pub(super) fn are_scarce(&self) -> bool {
        self.free.available_permits() < self.scarce
    }

    /// Whether none is free.
    pub(super) fn are_taken(&self) -> bool {
        self.free.available_permits() == 0
    }

    /// Waits until they become scarce; a change after this call is not missed.
    pub(super) fn became_scarce(&self) -> Notified<'_> {
        self.became_scarce.notified()
    }
}

/// Whether the client left before its connection was accepted: nothing is wrong with the system then.
fn is_client_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_waiter_is_notified_when_slots_become_scarce_and_not_before() {
        let slots = Slots::new(3, 2);
        let mut heard = Box::pin(slots.became_scarce());
        let _one = slots.take().await;
        assert!(heard.as_mut().now_or_never().is_none() && !slots.are_scarce());
        let two = slots.take().await;
        assert!(heard.as_mut().now_or_never().is_some() && slots.are_scarce());
        let mut heard = Box::pin(slots.became_scarce());
        let _three = slots.take().await;
        assert!(heard.as_mut().now_or_never().is_none() && slots.are_taken(), "they have been scarce already");
        assert!(slots.take().now_or_never().is_none());
        drop(two);
        assert!(slots.take().now_or_never().is_some());
    }
}
