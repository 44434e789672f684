//! Tells the server of statements that nobody waits for any more.
//!
//! `statement_timeout` ends a statement that computes or waits for a lock. It does not end a commit that waits for a
//! synchronous standby: with the standby gone, each abandoned insert would hold a server process until it is back, and soon
//! every connection that the primary has to give. A cancelled wait leaves the row committed where it was.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{CancelToken, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::root_cause;

/// Sends a cancel request for what the connection of `token` is busy with, over a connection of its own. Nobody waits for it.
pub(super) fn send(token: CancelToken, tls: Option<MakeRustlsConnect>, limit: Duration) {
    tokio::spawn(async move {
        let sent = timeout(limit, async {
            match tls {
                Some(tls) => token.cancel_query(tls).await,
                None => token.cancel_query(NoTls).await,
            }
        });
        // A server that stands still, or is gone, has nothing to cancel either.
        if let Ok(Err(error)) = sent.await {
            tracing::debug!(cause = root_cause(&error), "a statement could not be cancelled");
        }
    });
}
