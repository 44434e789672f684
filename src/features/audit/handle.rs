//! Gathers refusals by rate limits, for others; nobody waits for their events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::refusals::Refusals;
use crate::actors::{Cell, Current, Reply};
use crate::domain::network::Network;
use crate::http::service::Record;

/// How long a stop waits for the last events to be written and sealed. Other replicas, or the next start, seal what
/// remains.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// Gathers refusals by rate limits.
#[derive(Debug, Clone)]
pub struct AuditHandle {
    pub(super) actor: Current<Msg>,
    pub(super) refusals: Arc<Refusals>,
}

impl AuditHandle {
    /// Writes all gathered refusals and seals all events, within the time that a stop allows.
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
    /// Never waits; refusals beyond the bound are counted as dropped.
    fn limit_hit(&self, limit: &'static str, network: Network) {
        self.refusals.add(limit, network, Instant::now());
    }
}

pub(super) enum Msg {
    /// Time for another round.
    Seal,
    /// Another round now, with all gathered refusals.
    Flush(Reply<()>),
}
