//! A walk along the chain, event by event, in constant memory.

use thiserror::Error;

use super::{Hash, Head, Sealed, pruning};

/// Where and how the chain is broken first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Break {
    /// Its row, its hash or the hash of the event before differs from the sealed one.
    #[error("event {0} was changed, or the one before it")]
    Changed(i64),
    /// A place is vacant.
    #[error("event {0} is missing")]
    Missing(i64),
    /// A place is taken twice, or was never sealed.
    #[error("event {0} was inserted: its place is not in the chain")]
    Inserted(i64),
    /// The events are in order, but the stored head is another.
    #[error("the head {head} is not the last event's hash: the head or event {sequence} was changed", sequence = .head.sequence)]
    Head {
        /// The stored head.
        head: Head,
    },
    /// There is no head.
    #[error("the row of audit_chain is missing, so the start and the end of the chain are unknown")]
    NoHead,
    /// The log does not start with the first event, and no event of a pruning ends there.
    #[error(
        "the events up to {0} are gone, and no sealed log_pruned event names the last of them: the start was removed"
    )]
    StartRemoved(i64),
    /// The chain holds, but is not the anchored one.
    #[error("event {} is not the anchored one: the log was rewritten at or before it", .0.sequence)]
    Rewritten(Head),
    /// The log ends before the anchored event.
    #[error("the log ends at event {last}, before the anchored event {}: its end was cut off", .anchor.sequence)]
    CutOff {
        /// The anchor.
        anchor: Head,
        /// The last event there is.
        last: i64,
    },
    /// The anchored event was pruned, so nothing is known about it.
    #[error("the anchored event {} was pruned: the log starts after event {start}; compare with a later anchor", .anchor.sequence)]
    Pruned {
        /// The anchor.
        anchor: Head,
        /// The last event that was pruned.
        start: i64,
    },
}

/// The verifier, between two events.
#[derive(Debug, Clone, Copy)]
pub struct Walk {
    start: Head,
    at: Head,
    end: Head,
    anchor: Option<Head>,
    pruned_by: Option<i64>,
}

impl Walk {
    /// Begins behind `start`, walks to `end`, and compares with `anchor` on the way.
    ///
    /// # Errors
    /// [`Break::Rewritten`], where `start` is the anchored event and differs.
    pub fn new(start: Head, end: Head, anchor: Option<Head>) -> Result<Self, Break> {
        let walk = Self { start, at: start, end, anchor, pruned_by: None };
        walk.compare().map(|()| walk)
    }

    /// Goes on to the next event, in the order of their places.
    ///
    /// # Errors
    /// The [`Break`] at this event.
    pub fn step(&mut self, next: &Sealed) -> Result<(), Break> {
        let expected = self.at.sequence + 1;
        if next.sequence < expected || next.sequence > self.end.sequence {
            let is_behind_a_gap = self.at.sequence < self.end.sequence && next.sequence > self.end.sequence;
            let broken = if is_behind_a_gap { Break::Missing(expected) } else { Break::Inserted(next.sequence) };
            return Err(broken);
        }
        if next.sequence > expected {
            return Err(Break::Missing(expected));
        }
        let hash = next.event.hash(self.at.hash, next.sequence);
        if next.hash != Some(hash) {
            return Err(Break::Changed(next.sequence));
        }
        self.at = Head { sequence: next.sequence, hash };
        if pruning::through(&next.event) == Some(self.start) {
            self.pruned_by = Some(next.sequence);
        }
        self.compare()
    }

    /// Ends the walk behind the last event. Returns the place of the pruning's event that explains the start, where the
    /// log was pruned.
    ///
    /// # Errors
    /// A [`Break`] that shows only at the end.
    pub fn finish(self) -> Result<Option<i64>, Break> {
        if self.at.sequence < self.end.sequence {
            return Err(Break::Missing(self.at.sequence + 1));
        }
        if self.at != self.end {
            return Err(Break::Head { head: self.end });
        }
        let start = self.start.sequence;
        if self.start != ORIGIN && self.pruned_by.is_none() {
            return Err(Break::StartRemoved(start));
        }
        match self.anchor {
            Some(anchor) if anchor.sequence < start => Err(Break::Pruned { anchor, start }),
            Some(anchor) if anchor.sequence > self.end.sequence => {
                Err(Break::CutOff { anchor, last: self.end.sequence })
            }
            _ => Ok(self.pruned_by),
        }
    }

    fn compare(&self) -> Result<(), Break> {
        match self.anchor {
            Some(anchor) if anchor.sequence == self.at.sequence && anchor.hash != self.at.hash => {
                Err(Break::Rewritten(anchor))
            }
            _ => Ok(()),
        }
    }
}

/// The head of an empty log that was never pruned.
pub const ORIGIN: Head = Head { sequence: 0, hash: Hash::ZERO };

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::super::Event;
    use super::*;
    use crate::domain::moment::Moment;

    fn chain(count: i64) -> (Vec<Sealed>, Head) {
        let mut head = ORIGIN;
        let sealed = (1..=count).map(|_| {
            let sealed = next(head, "registered", "{}".into());
            head = self::head(&sealed);
            sealed
        });
        (sealed.collect(), head)
    }

    fn next(head: Head, kind: &str, detail: String) -> Sealed {
        let sequence = head.sequence + 1;
        let (kind, at) = (kind.to_owned(), Moment(sequence));
        let event = Event { id: 100 - sequence, at, kind, user_id: None, email: None, source: None, detail };
        let hash = Some(event.hash(head.hash, sequence));
        Sealed { event, sequence, hash }
    }

    /// Five events, of which two were pruned, and the sixth of that pruning.
    fn pruned() -> (Vec<Sealed>, Head, Head) {
        let (mut events, end) = chain(5);
        let start = head(&events[1]);
        events.push(next(end, pruning::KIND, pruning::detail(start, 2, OffsetDateTime::UNIX_EPOCH)));
        let end = head(&events[5]);
        (events.split_off(2), start, end)
    }

    fn walk(events: &[Sealed], start: Head, end: Head, anchor: Option<Head>) -> Result<Option<i64>, Break> {
        let mut walk = Walk::new(start, end, anchor)?;
        events.iter().try_for_each(|event| walk.step(event))?;
        walk.finish()
    }

    fn head(event: &Sealed) -> Head {
        Head { sequence: event.sequence, hash: event.hash.unwrap() }
    }

    #[test]
    fn a_whole_chain_holds_against_any_of_its_heads() {
        let (events, end) = chain(5);
        assert_eq!(walk(&[], ORIGIN, ORIGIN, Some(ORIGIN)), Ok(None));
        for anchor in events.iter().map(head) {
            assert_eq!(walk(&events, ORIGIN, end, Some(anchor)), Ok(None));
        }
    }

    #[test]
    fn a_chain_that_starts_later_holds_where_an_event_names_exactly_that_start() {
        let (mut events, start, end) = pruned();
        assert_eq!(walk(&events, start, end, Some(start)), Ok(Some(6)));
        events.push(next(end, pruning::KIND, events[3].event.detail.clone()));
        assert_eq!(walk(&events, start, head(&events[4]), None), Ok(Some(7)), "the newest counts");
        let (events, end) = chain(5);
        assert_eq!(walk(&events[2..], head(&events[1]), end, None), Err(Break::StartRemoved(2)), "no event names it");
        assert_eq!(walk(&[], end, end, None), Err(Break::StartRemoved(5)), "nothing is left");
    }

    #[test]
    fn a_chain_whose_event_names_another_start_has_lost_its_own() {
        let (events, start, end) = pruned();
        assert_eq!(walk(&events[1..], head(&events[0]), end, None), Err(Break::StartRemoved(3)), "one more is gone");
        let mut forged = events.clone();
        forged[2] = next(head(&events[1]), pruning::KIND, pruning::detail(start, 2, OffsetDateTime::UNIX_EPOCH));
        assert_eq!(walk(&forged, start, end, None), Err(Break::Changed(6)), "put in another's place");
        let other = Head { hash: Hash::ZERO, ..start };
        let named = [next(start, pruning::KIND, pruning::detail(other, 2, OffsetDateTime::UNIX_EPOCH))];
        assert_eq!(walk(&named, start, head(&named[0]), None), Err(Break::StartRemoved(2)), "another hash");
    }

    #[test]
    fn what_is_missing_changed_or_too_much_is_found_where_it_is() {
        let (events, end) = chain(5);
        for gone in 0..5 {
            let mut left = events.clone();
            left.remove(gone);
            let place = i64::try_from(gone).unwrap() + 1;
            assert_eq!(walk(&left, ORIGIN, end, None), Err(Break::Missing(place)));
        }
        let mut changed = events.clone();
        changed[2].event.kind = "login_failed".into();
        assert_eq!(walk(&changed, ORIGIN, end, None), Err(Break::Changed(3)));
        changed[2].hash = Some(changed[2].event.hash(events[1].hash.unwrap(), 3));
        assert_eq!(walk(&changed, ORIGIN, end, None), Err(Break::Changed(4)), "sealed again, the next does not fit");
        let mut twice = events.clone();
        twice.insert(2, events[1].clone());
        assert_eq!(walk(&twice, ORIGIN, end, None), Err(Break::Inserted(2)));
        let (longer, _) = chain(6);
        assert_eq!(walk(&longer, ORIGIN, end, None), Err(Break::Inserted(6)));
        let mut unhashed = events;
        unhashed[4].hash = None;
        assert_eq!(walk(&unhashed, ORIGIN, end, None), Err(Break::Changed(5)));
    }

    #[test]
    fn heads_show_ends_that_were_cut_off_or_rewritten() {
        let (events, end) = chain(5);
        let other = Head { hash: Hash::ZERO, ..end };
        assert_eq!(walk(&events, ORIGIN, other, None), Err(Break::Head { head: other }));
        assert_eq!(walk(&events, ORIGIN, end, Some(other)), Err(Break::Rewritten(other)));
        let short = walk(&events[..3], ORIGIN, head(&events[2]), Some(end));
        assert_eq!(short, Err(Break::CutOff { anchor: end, last: 3 }));
        let (events, start, end) = pruned();
        let early = walk(&events, start, end, Some(ORIGIN));
        assert_eq!(early, Err(Break::Pruned { anchor: ORIGIN, start: 2 }));
    }
}
