//! Networks that an account has lately logged in from, as far as this replica knows. A network that is not seen while a
//! generation fills up is forgotten. The database knows all of them.

use std::collections::HashSet;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lease::Key;

/// Networks of accounts in one generation at most: both generations together take some 2 MB.
const MAX: usize = 16 * 1024;

/// Shared by the lines and by the waiters that join them.
#[derive(Clone, Default)]
pub(super) struct Known(Arc<Mutex<Generations>>);

#[derive(Default)]
struct Generations {
    young: HashSet<Key>,
    old: HashSet<Key>,
}

impl Known {
    /// Notes that the account has logged in from the network.
    pub(super) fn add(&self, key: Key) {
        let mut generations = self.lock();
        if generations.young.len() >= MAX {
            generations.old = mem::take(&mut generations.young);
        }
        generations.young.insert(key);
    }

    /// Whether the account has logged in from the network, as far as this replica knows.
    pub(super) fn has(&self, key: &Key) -> bool {
        let generations = self.lock();
        generations.young.contains(key) || generations.old.contains(key)
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_bounded_and_the_unseen_goes_first() {
        let known = Known::default();
        let numbered = |n: usize| Key { subject: [0; 32], source: (n as u128).to_be_bytes() };
        for n in 0..5 * MAX {
            known.add(numbered(n));
        }
        let held = {
            let generations = known.lock();
            generations.young.len() + generations.old.len()
        };
        assert!(held <= 2 * MAX, "{held}");
        assert!(!known.has(&numbered(0)) && known.has(&numbered(5 * MAX - 1)));
    }
}
