//! Tells the server of statements that nobody waits for any more.
//!
//! `statement_timeout` ends a statement that computes or waits for a lock. It does not end a commit that waits for a
//! synchronous standby: with the standby gone, each abandoned insert would hold a server process until it is back, and soon
//! every connection that the primary has to give. A cancelled wait leaves the row committed where it was.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{CancelToken, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{root_cause, tls};
use crate::config;

/// Sends cancel requests, over connections of their own.
#[derive(Clone)]
pub(crate) struct Cancel {
    tls: Option<MakeRustlsConnect>,
    limit: Duration,
}

impl Cancel {
    pub(crate) fn new(config: &config::Database) -> Self {
        // Where encryption can't be had, no connection was made whose statement could be cancelled.
        Self { tls: tls::connector(config).ok(), limit: config.connect_timeout }
    }

    /// Cancels what the connection of this token is busy with. Nobody waits for it.
    pub(crate) fn send(&self, token: CancelToken) {
        let (tls, limit) = (self.tls.clone(), self.limit);
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
}
