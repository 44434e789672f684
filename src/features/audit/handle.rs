//! Takes events that nobody waits for, from others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::hits::Hits;
use crate::actors::{Cell, Current, Reply};
use crate::domain::network::Network;
use crate::http::service::Record;

/// How long the end of the service waits for the last events to be written and sealed: what remains is sealed by others.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// Takes events that nobody waits for.
#[derive(Debug, Clone)]
pub struct AuditHandle {
    pub(super) actor: Current<Msg>,
    pub(super) hits: Arc<Hits>,
}

impl AuditHandle {
    /// Writes what has gathered and seals it, as far as that takes no longer than a service may take to end.
    pub async fn flush(&self) {
        let _ = self.actor.call(FLUSH_WITHIN, Msg::Flush).await;
    }

    /// The actor itself, for supervision from outside.
    #[must_use]
    pub fn cell(&self) -> Option<Cell> {
        self.actor.cell()
    }
}

impl Record for AuditHandle {
    /// Never waits: what can't be kept is counted as dropped.
    fn limit_hit(&self, limit: &'static str, network: Network) {
        self.hits.add(limit, network, Instant::now());
    }
}

pub(super) enum Msg {
    /// Time for another round.
    Seal,
    /// Another round now, with all that has gathered.
    Flush(Reply<()>),
}
