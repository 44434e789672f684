//! A walk along the chain, event by event, in constant memory.

use thiserror::Error;

use super::{Hash, Head, Sealed};

/// Where and how the chain is broken first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Break {
    /// Its row, its hash or that of the event before is not what was sealed.
    #[error("event {0} was changed, or the one before it")]
    Changed(i64),
    /// A place is vacant.
    #[error("event {0} is missing")]
    Missing(i64),
    /// A place is taken twice, or one that nobody sealed.
    #[error("event {0} was inserted: its place is not in the chain")]
    Inserted(i64),
    /// The events are in order, the kept head is another.
    #[error("the head {head} is not the last event's hash: the head or event {sequence} was changed", sequence = .head.sequence)]
    Head {
        /// As it is kept.
        head: Head,
    },
    /// There is no head.
    #[error("the row of audit_chain is missing, so nothing tells where the chain starts and ends")]
    NoHead,
    /// The chain holds, but it is another one than that which was anchored.
    #[error("event {} is not the anchored one: the log was rewritten at or before it", .0.sequence)]
    Rewritten(Head),
    /// The log ends before the anchored event.
    #[error("the log ends at event {last}, before the anchored event {}: its end was cut off", .anchor.sequence)]
    CutOff {
        /// What was anchored.
        anchor: Head,
        /// The last event there is.
        last: i64,
    },
    /// The anchored event was pruned, so nothing is known about it.
    #[error("the anchored event {} was pruned: the log starts after event {start}; compare with a later anchor", .anchor.sequence)]
    Pruned {
        /// What was anchored.
        anchor: Head,
        /// The last event that was pruned.
        start: i64,
    },
}

/// The verifier, between two events.
#[derive(Debug, Clone, Copy)]
pub struct Walk {
    at: Head,
    end: Head,
    anchor: Option<Head>,
}

impl Walk {
    /// Begins behind `start`, on the way to `end`, and compares with `anchor` when it comes by.
    ///
    /// # Errors
    /// [`Break::Pruned`], [`Break::CutOff`], [`Break::Rewritten`], where the anchor tells already.
    pub fn new(start: Head, end: Head, anchor: Option<Head>) -> Result<Self, Break> {
        let walk = Self { at: start, end, anchor };
        match anchor {
            Some(anchor) if anchor.sequence < start.sequence => Err(Break::Pruned { anchor, start: start.sequence }),
            _ => walk.compare().map(|()| walk),
        }
    }

    /// Goes on to the next event, in the order of their places.
    ///
    /// # Errors
    /// The [`Break`] that is there.
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
        self.compare()
    }

    /// Ends the walk behind the last event.
    ///
    /// # Errors
    /// The [`Break`] that shows at the end only.
    pub fn finish(self) -> Result<(), Break> {
        if self.at.sequence < self.end.sequence {
            return Err(Break::Missing(self.at.sequence + 1));
        }
        if self.at != self.end {
            return Err(Break::Head { head: self.end });
        }
        match self.anchor {
            Some(anchor) if anchor.sequence > self.end.sequence => {
                Err(Break::CutOff { anchor, last: self.end.sequence })
            }
            _ => Ok(()),
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

/// What stands before the first event of a log that nothing was pruned from.
pub const ORIGIN: Head = Head { sequence: 0, hash: Hash::ZERO };

#[cfg(test)]
mod tests {
    use super::super::{Event, Moment};
    use super::*;

    fn chain(count: i64) -> (Vec<Sealed>, Head) {
        let mut head = ORIGIN;
        let sealed = (1..=count).map(|sequence| {
            let event = Event {
                id: 100 - sequence,
                at: Moment(sequence),
                kind: "registered".into(),
                user_id: None,
                email: None,
                source: None,
                detail: "{}".into(),
            };
            head = Head { sequence, hash: event.hash(head.hash, sequence) };
            Sealed { event, sequence, hash: Some(head.hash) }
        });
        (sealed.collect(), head)
    }

    fn walk(events: &[Sealed], start: Head, end: Head, anchor: Option<Head>) -> Result<(), Break> {
        let mut walk = Walk::new(start, end, anchor)?;
        events.iter().try_for_each(|event| walk.step(event))?;
        walk.finish()
    }

    fn head(event: &Sealed) -> Head {
        Head { sequence: event.sequence, hash: event.hash.unwrap() }
    }

    #[test]
    fn a_whole_chain_holds_from_any_start_and_against_any_of_its_heads() {
        let (events, end) = chain(5);
        assert_eq!(walk(&[], ORIGIN, ORIGIN, Some(ORIGIN)), Ok(()));
        for anchor in events.iter().map(head) {
            assert_eq!(walk(&events, ORIGIN, end, Some(anchor)), Ok(()));
        }
        assert_eq!(walk(&events[2..], head(&events[1]), end, Some(head(&events[1]))), Ok(()));
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
        assert_eq!(walk(&changed, ORIGIN, end, None), Err(Break::Changed(4)), "sealed anew, the next tells");
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
    fn heads_tell_of_ends_that_were_cut_off_or_rewritten() {
        let (events, end) = chain(5);
        let other = Head { hash: Hash::ZERO, ..end };
        assert_eq!(walk(&events, ORIGIN, other, None), Err(Break::Head { head: other }));
        assert_eq!(walk(&events, ORIGIN, end, Some(other)), Err(Break::Rewritten(other)));
        let short = walk(&events[..3], ORIGIN, head(&events[2]), Some(end));
        assert_eq!(short, Err(Break::CutOff { anchor: end, last: 3 }));
        let pruned = walk(&events[3..], head(&events[2]), end, Some(ORIGIN));
        assert_eq!(pruned, Err(Break::Pruned { anchor: ORIGIN, start: 3 }));
    }
}
