//! A bound on the unsent bytes that the system holds for each connection.

use tokio::net::TcpListener;

/// Unsent bytes that the system may hold for each connection. By default Linux takes megabytes for a client that never
/// reads: in one call that keeps all others waiting, and outside the process's own memory. Bytes on their way to a
/// client that reads do not count, so no connection is slower for it.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;

/// Bounds the unsent bytes of every connection of `listener`, which inherit its options. A system without this option
/// keeps the bound of its send buffer.
#[cfg(target_os = "linux")]
pub(super) fn bound(listener: &TcpListener) {
    if let Err(error) = socket2::SockRef::from(listener).set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!(%error, "the system does not bound what it keeps for clients");
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn bound(_: &TcpListener) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has said what it had to say")]

    use std::io::ErrorKind;

    use tokio::net::TcpSocket;

    use super::*;

    #[tokio::test]
    async fn a_client_that_does_not_read_is_sent_little() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        bound(&listener);
        let client = TcpSocket::new_v4().unwrap();
        client.set_recv_buffer_size(4096).unwrap();
        let _client = client.connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let (large, mut taken) = (vec![0; 1024 * 1024], 0);
        let refusal = loop {
            stream.writable().await.unwrap();
            match stream.try_write(&large) {
                Ok(count) => taken += count,
                Err(error) => break error,
            }
        };
        assert_eq!(refusal.kind(), ErrorKind::WouldBlock);
        assert!(taken < 3 * UNSENT as usize, "{taken}");
    }
}
