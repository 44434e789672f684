//! An attempt's place among those under way: had before the password is checked, and given back however that ends. Where
//! the database is away at the end, it stays taken until its lease is over.

use std::collections::HashMap;

use tokio::runtime::Handle;
use uuid::Uuid;

use super::handle::{AttemptError, AttemptsHandle, Reply};
use super::queue::{Batch, Queue};
use crate::domain::moment::Moment;
use crate::domain::network::Standing;

/// What is counted: an account, as a keyed hash of whatever email was offered, and a network, as another.
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

/// A place as the database knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) until: Moment,
    /// The network is known to the account, so that only its own counter was asked.
    pub(super) known: bool,
}

/// An end to count and to record.
#[derive(Clone)]
pub(super) struct End {
    pub(super) key: Key,
    /// `None` where limits are off: the end is recorded, but counts for nothing.
    pub(super) place: Option<Place>,
    /// `None`: nobody checked the password.
    pub(super) outcome: Option<Outcome>,
    pub(super) user: Option<Uuid>,
    pub(super) email: Option<String>,
    pub(super) network: Option<String>,
}

/// A place that is given back when it is dropped.
pub(super) struct Lease {
    key: Key,
    place: Option<Place>,
    handle: AttemptsHandle,
}

impl Lease {
    pub(super) fn new(key: Key, place: Place, handle: AttemptsHandle) -> Self {
        Self { key, place: Some(place), handle }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let (key, handle) = (self.key, self.handle.clone());
        let end = End { key, place: Some(place), outcome: None, user: None, email: None, network: None };
        // Without a runtime the service is stopping; then, and where this fails, the place counts until it expires.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { handle.resolve(end).await });
        }
    }
}

/// An attempt that was admitted. Dropped without a word on how it ended, it counts for nothing.
pub struct Reservation {
    key: Key,
    lease: Option<Lease>,
    email: Option<String>,
    network: Option<String>,
    handle: AttemptsHandle,
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
        handle: AttemptsHandle,
    ) -> Self {
        Self { key, lease, email: email.map(|text| recordable(&text)), network, handle }
    }

    /// What the account knows of the network, as the database says; a stranger where limits are off.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.lease.as_ref().and_then(|lease| lease.place) {
            Some(Place { known: true, .. }) => Standing::Known,
            _ => Standing::Stranger,
        }
    }

    /// Counts and records how it ended, on the account of `user` where there is one: both in one transaction, which has been
    /// committed when this returns.
    ///
    /// # Errors
    /// [`AttemptError::Unavailable`], [`AttemptError::Call`].
    pub async fn resolve(mut self, outcome: Outcome, user: Option<Uuid>) -> Result<(), AttemptError> {
        let place = self.lease.as_mut().and_then(|lease| lease.place.take());
        let (email, network) = (self.email.take(), self.network.take());
        self.handle.resolve(End { key: self.key, place, outcome: Some(outcome), user, email, network }).await
    }
}

/// Characters that are recorded of an offered email: as many as a good one may have bytes.
const RECORDED_MAX: usize = 254;

/// What was offered as an email may be anything: as much of it as an email may have, in what the database takes for text.
fn recordable(text: &str) -> String {
    text.chars().take(RECORDED_MAX).map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The next ends for one statement, in the order in which every statement locks counters: by account, and of one account
/// only those that lock the same. Two statements that take their locks in different orders would wait for each other.
pub(super) fn take_orderly(ends: &mut Queue<End, Reply<()>>, max: usize) -> Batch<End, Reply<()>> {
    let mut locks = HashMap::new();
    let mut batch = ends.take_fitting(max, |end| {
        let own = (end.key.source, end.place.map(|place| place.known));
        *locks.entry(end.key.subject).or_insert(own) == own
    });
    // Stable, so that the events of one account keep their order.
    batch.sort_by_key(|(end, _)| end.key);
    batch
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
