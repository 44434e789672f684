//! Logins that wait for their turn: a line for each account and network, first come, first served. Lines of networks
//! that their account has logged in from go before those of strangers, so that thousands of strangers at one account do
//! not keep its owner waiting.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::mem;
use std::ops::RangeInclusive;
use std::time::Instant;

use super::known::Known;
use super::lease::Key;

/// Longest line. All lines together hold no more than `server.max_in_flight` requests, which counts requests that wait
/// for hashes apart.
const LINE_MAX: usize = 1_024;

/// All lines. While the front of a line asks, the others of that line wait for its answer.
pub(super) struct Lines<W> {
    waiting: BTreeMap<Key, Line<W>>,
    /// Lines whose turn it is to ask, and also some that have ended or asked meanwhile.
    ready: VecDeque<Key>,
    known: Known,
}

struct Line<W> {
    waiters: VecDeque<W>,
    turn: Turn,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Ready,
    /// The front of the line is asking. `again`: it asks again at once, because things have changed since.
    Asking {
        again: bool,
    },
    /// The line asks again then, unless it is woken before.
    Later(Instant),
}

impl<W> Lines<W> {
    pub(super) fn new(known: Known) -> Self {
        Self { waiting: BTreeMap::new(), ready: VecDeque::new(), known }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether a line may be ready to ask. It may have ended or asked meanwhile.
    pub(super) fn are_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Puts `waiter` at the end of its line, or gives it back where there is no room.
    pub(super) fn join(&mut self, key: Key, waiter: W) -> Result<(), W> {
        let line = self.waiting.entry(key).or_insert_with(|| {
            queue(&self.known, &mut self.ready, key);
            Line { waiters: VecDeque::new(), turn: Turn::Ready }
        });
        if line.waiters.len() >= LINE_MAX {
            return Err(waiter);
        }
        line.waiters.push_back(waiter);
        Ok(())
    }

    /// Takes up to `max` lines whose turn it is, with all their waiters, sorted by account. It takes one line per
    /// account: two would lock the account's counter and one more each, and so two statements could lock in different
    /// orders.
    pub(super) fn take(&mut self, max: usize) -> Vec<(Key, Vec<W>)> {
        let (mut taken, mut subjects, mut passed) = (Vec::new(), HashSet::new(), VecDeque::new());
        while taken.len() < max
            && let Some(key) = self.ready.pop_front()
        {
            let Some(line) = self.waiting.get_mut(&key).filter(|line| line.turn == Turn::Ready) else { continue };
            if !subjects.insert(key.subject) {
                passed.push_back(key);
                continue;
            }
            line.turn = Turn::Asking { again: false };
            taken.push((key, line.waiters.drain(..).collect()));
        }
        passed.append(&mut self.ready);
        self.ready = passed;
        taken.sort_by_key(|(key, _)| *key);
        taken
    }

    /// Ends the asking of a line: `rest` goes back to its front and asks again at `ask_again`, or sooner if woken.
    pub(super) fn put_back(&mut self, key: Key, rest: Vec<W>, ask_again: Instant) {
        let Some(line) = self.waiting.get_mut(&key) else { return };
        let again = line.turn == Turn::Asking { again: true };
        line.turn = if again || rest.is_empty() { Turn::Ready } else { Turn::Later(ask_again) };
        for waiter in rest.into_iter().rev() {
            line.waiters.push_front(waiter);
        }
        if line.waiters.is_empty() {
            self.waiting.remove(&key);
        } else if line.turn == Turn::Ready {
            queue(&self.known, &mut self.ready, key);
        }
    }

    /// Lets all lines of the account ask, because an attempt on it has ended.
    pub(super) fn wake(&mut self, subject: &[u8; 32]) {
        for (key, line) in self.waiting.range_mut(of_account(subject)) {
            match &mut line.turn {
                Turn::Ready => {}
                Turn::Asking { again } => *again = true,
                turn @ Turn::Later(_) => {
                    *turn = Turn::Ready;
                    queue(&self.known, &mut self.ready, *key);
                }
            }
        }
    }

    /// Removes the waiters of the account's lines for which `goes` returns true.
    pub(super) fn clear(&mut self, subject: &[u8; 32], goes: impl Fn(&Key) -> bool) -> Vec<W> {
        let (mut gone, mut empty) = (Vec::new(), Vec::new());
        for (key, line) in self.waiting.range_mut(of_account(subject)).filter(|(key, _)| goes(key)) {
            gone.extend(line.waiters.drain(..));
            if !matches!(line.turn, Turn::Asking { .. }) {
                empty.push(*key);
            }
        }
        for key in empty {
            self.waiting.remove(&key);
        }
        gone
    }

    /// Lets lines ask whose time has come at `now`, and removes waiters for which `goes` returns true.
    pub(super) fn sweep(&mut self, now: Instant, goes: impl Fn(&W) -> bool) -> Vec<W> {
        let mut gone = Vec::new();
        let (ready, known) = (&mut self.ready, &self.known);
        self.waiting.retain(|key, line| {
            for waiter in mem::take(&mut line.waiters) {
                if goes(&waiter) {
                    gone.push(waiter);
                } else {
                    line.waiters.push_back(waiter);
                }
            }
            if matches!(line.turn, Turn::Later(then) if then <= now) {
                line.turn = Turn::Ready;
                queue(known, ready, *key);
            }
            !line.waiters.is_empty() || matches!(line.turn, Turn::Asking { .. })
        });
        gone
    }
}

/// All lines of an account.
fn of_account(subject: &[u8; 32]) -> RangeInclusive<Key> {
    Key { subject: *subject, source: [0; 16] }..=Key { subject: *subject, source: [u8::MAX; 16] }
}

/// Queues a line to ask.
fn queue(known: &Known, ready: &mut VecDeque<Key>, key: Key) {
    if known.has(&key) {
        ready.push_front(key);
    } else {
        ready.push_back(key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(subject: u8, source: u8) -> Key {
        Key { subject: [subject; 32], source: [source; 16] }
    }

    fn taken(lines: &mut Lines<u32>) -> Vec<(u8, u8, Vec<u32>)> {
        lines.take(10).into_iter().map(|(key, waiters)| (key.subject[0], key.source[0], waiters)).collect()
    }

    fn joined(arrivals: &[(u8, u8, u32)]) -> Lines<u32> {
        let mut lines = Lines::new(Known::default());
        for (subject, source, waiter) in arrivals {
            lines.join(key(*subject, *source), *waiter).unwrap();
        }
        lines
    }

    #[test]
    fn a_line_asks_as_one_and_only_one_line_of_an_account_at_a_time() {
        let mut lines = joined(&[(2, 1, 1), (1, 1, 2), (2, 1, 3), (2, 2, 4)]);
        assert_eq!(taken(&mut lines), [(1, 1, vec![2]), (2, 1, vec![1, 3])]);
        assert_eq!(taken(&mut lines), [(2, 2, vec![4])]);
        lines.join(key(1, 1), 5).unwrap();
        assert_eq!(taken(&mut lines), [], "its front is asking");
        lines.put_back(key(1, 1), vec![], Instant::now());
        assert_eq!(taken(&mut lines), [(1, 1, vec![5])]);
    }

    #[test]
    fn networks_that_the_account_knows_go_before_strangers() {
        let mut lines = joined(&[(1, 1, 1), (1, 2, 2), (2, 1, 3)]);
        lines.known.add(key(1, 9));
        lines.join(key(1, 9), 4).unwrap();
        assert_eq!(taken(&mut lines), [(1, 9, vec![4]), (2, 1, vec![3])], "others' accounts are not concerned");
        lines.put_back(key(1, 9), vec![4], Instant::now());
        lines.wake(&[1; 32]);
        assert_eq!(taken(&mut lines), [(1, 9, vec![4])]);
        assert_eq!(taken(&mut lines), [(1, 1, vec![1])]);
    }

    #[test]
    fn the_rest_of_a_line_stays_in_front_and_waits_until_woken() {
        let mut lines = joined(&[(1, 1, 1), (1, 1, 2), (1, 1, 3)]);
        taken(&mut lines);
        lines.join(key(1, 1), 4).unwrap();
        let later = Instant::now() + Duration::from_hours(1);
        lines.put_back(key(1, 1), vec![2, 3], later);
        assert_eq!(taken(&mut lines), []);
        lines.wake(&[2; 32]);
        assert_eq!(taken(&mut lines), [], "another account");
        lines.wake(&[1; 32]);
        assert_eq!(taken(&mut lines), [(1, 1, vec![2, 3, 4])]);
        // Woken while it asks: the answer may be old by then.
        lines.wake(&[1; 32]);
        lines.put_back(key(1, 1), vec![3, 4], later);
        assert_eq!(taken(&mut lines), [(1, 1, vec![3, 4])]);
        lines.put_back(key(1, 1), vec![], later);
        assert!(lines.is_empty());
    }

    #[test]
    fn an_account_s_lines_are_cleared_of_those_who_cannot_get_in() {
        let mut lines = joined(&[(1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 2, 4)]);
        assert_eq!(taken(&mut lines), [(1, 1, vec![1]), (2, 2, vec![4])]);
        lines.join(key(1, 1), 5).unwrap();
        lines.join(key(2, 2), 6).unwrap();
        assert_eq!(lines.clear(&[1; 32], |key| key.source != [3; 16]), [5, 2]);
        assert_eq!(taken(&mut lines), [(1, 3, vec![3])], "one that may get in");
        lines.put_back(key(1, 1), vec![1], Instant::now());
        lines.wake(&[1; 32]);
        assert_eq!(taken(&mut lines), [(1, 1, vec![1])], "the line that was asking goes on");
        lines.put_back(key(1, 1), vec![], Instant::now());
        lines.put_back(key(1, 3), vec![], Instant::now());
        lines.put_back(key(2, 2), vec![], Instant::now());
        assert_eq!(taken(&mut lines), [(2, 2, vec![6])], "another account");
    }

    #[test]
    fn time_wakes_a_line_and_ends_waits() {
        let mut lines = joined(&[(1, 1, 1), (1, 1, 2)]);
        taken(&mut lines);
        let then = Instant::now();
        lines.put_back(key(1, 1), vec![1, 2], then);
        assert_eq!(lines.sweep(then, |waiter| *waiter == 1), [1]);
        assert_eq!(taken(&mut lines), [(1, 1, vec![2])]);
        lines.put_back(key(1, 1), vec![2], then + Duration::from_hours(1));
        assert_eq!(lines.sweep(then, |_| true), [2]);
        assert!(lines.is_empty());
        assert_eq!(taken(&mut lines), []);
    }

    #[test]
    fn lines_are_bounded() {
        let mut lines = Lines::new(Known::default());
        for n in 0..LINE_MAX {
            lines.join(key(1, 1), n).unwrap();
        }
        assert!(lines.join(key(1, 1), 0).is_err());
        lines.join(key(1, 2), 0).unwrap();
    }
}
