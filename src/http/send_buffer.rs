//! How much of an answer the system takes before its client reads.

use tokio::net::TcpListener;

/// Of what a client has not made room for, so much may lie with the system, in bytes. Linux alone would take megabytes for
/// each client that never reads, in one call that keeps everyone else waiting, and its memory is not in the process's own.
/// What is on its way to a client that reads is not counted, so that no connection is slower for it.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;

/// Bounds what is kept unsent on every connection of `listener`: they begin with its options. Where the system has no such
/// bound, that of the send buffer remains.
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
