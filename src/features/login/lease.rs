//! An attempt's lease: reserved before the password is checked, and returned however the check ends. If the database is
//! away at the end, the attempt counts as under way until its lease expires.

use tokio::runtime::Handle;
use uuid::Uuid;

use super::handle::AttemptError;
use super::resolve::Resolve;
use crate::actors::batcher::Batcher;
use crate::domain::moment::Moment;
use crate::domain::network::Standing;

/// The key of counters: keyed hashes of the offered email and of the network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) subject: [u8; 32],
    pub(super) source: [u8; 16],
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The password is right.
    Succeeded,
    /// It is wrong, or there is no such account.
    Failed,
}

/// A lease as it stands in the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeaseEntry {
    pub(super) until: Moment,
    /// Whether the account knows the network, so that only the network's own counter was asked.
    pub(super) known: bool,
}

/// An end to count and to record.
pub(super) struct End {
    pub(super) key: Key,
    /// `None` where limits are off: the end is recorded, but counts for nothing.
    pub(super) lease: Option<LeaseEntry>,
    /// `None`: the password was not checked.
    pub(super) outcome: Option<Outcome>,
    pub(super) user: Option<Uuid>,
    pub(super) email: Option<String>,
    pub(super) network: Option<String>,
}

/// A lease that is returned when it is dropped.
pub(super) struct Lease {
    key: Key,
    entry: Option<LeaseEntry>,
    ends: Batcher<Resolve>,
}

impl Lease {
    pub(super) fn new(key: Key, entry: LeaseEntry, ends: Batcher<Resolve>) -> Self {
        Self { key, entry: Some(entry), ends }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(entry) = self.entry.take() else { return };
        let end = End { key: self.key, lease: Some(entry), outcome: None, user: None, email: None, network: None };
        let ends = self.ends.clone();
        // Without a runtime the service is stopping. Then, and where the statement fails, the attempt counts until its
        // lease expires.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { ends.ask(end).await });
        }
    }
}

/// An attempt that was admitted. Dropped without an outcome, it counts for nothing.
pub struct Reservation {
    key: Key,
    lease: Option<Lease>,
    email: Option<String>,
    network: Option<String>,
    ends: Batcher<Resolve>,
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reservation")
    }
}

impl Reservation {
    pub(super) fn new(
        key: Key,
        lease: Option<Lease>,
        (email, network): (Option<String>, Option<String>),
        ends: Batcher<Resolve>,
    ) -> Self {
        Self { key, lease, email: email.map(|text| recordable(&text)), network, ends }
    }

    /// The standing of the network, as the database knows it; [`Standing::Stranger`] where limits are off.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.lease.as_ref().and_then(|lease| lease.entry) {
            Some(LeaseEntry { known: true, .. }) => Standing::Known,
            _ => Standing::Stranger,
        }
    }

    /// Counts and records the outcome, on the account of `user` where there is one: both in one transaction, which is
    /// committed when this returns.
    ///
    /// # Errors
    /// [`AttemptError::Unavailable`], [`AttemptError::Call`].
    pub async fn resolve(mut self, outcome: Outcome, user: Option<Uuid>) -> Result<(), AttemptError> {
        let lease = self.lease.as_mut().and_then(|lease| lease.entry.take());
        let (email, network) = (self.email.take(), self.network.take());
        self.ends.ask(End { key: self.key, lease, outcome: Some(outcome), user, email, network }).await
    }
}

/// Characters of an offered email that are recorded: as many as a valid one may have bytes.
const RECORDED_MAX: usize = 254;

/// An offered email may be any text. This keeps as much as a valid one may have, without NULs, which the database does
/// not store.
fn recordable(text: &str) -> String {
    text.chars().take(RECORDED_MAX).map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_of_an_offered_email_is_short_text() {
        assert_eq!(recordable("a\0b"), "a\u{fffd}b");
        assert_eq!(recordable(&"ä".repeat(1000)).chars().count(), RECORDED_MAX);
    }
}
