//! Cancels abandoned statements on the server.
//!
//! `statement_timeout` ends a statement that computes or waits for a lock. It does not end a commit that waits for a
//! synchronous standby. Without the standby, each abandoned insert would hold a server process until the standby is
//! back, and soon all connections of the primary. A cancelled wait leaves the row committed on the primary.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{CancelToken, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::root_cause;

/// Sends a cancel request for the current statement of `token`'s connection, over a connection of its own. Nobody waits
/// for it.
pub(super) fn send(token: CancelToken, tls: Option<MakeRustlsConnect>, limit: Duration) {
    tokio::spawn(async move {
        let sent = timeout(limit, async {
            match tls {
                Some(tls) => token.cancel_query(tls).await,
                None => token.cancel_query(NoTls).await,
            }
        });
        // A frozen or lost server has nothing to cancel.
        if let Ok(Err(error)) = sent.await {
            tracing::debug!(cause = root_cause(&error), "a statement could not be cancelled");
        }
    });
}
