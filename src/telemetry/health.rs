//! Which parts of the service are up, and how often one may die before the service is better started anew.
//!
//! A part is an actor, or a loop that the service cannot do without. A part that dies is started again by its owner: at once
//! the first time, and after growing pauses while it dies again and again. Nobody else watches: what is not a part here may
//! fail unseen.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::time::sleep;

use super::{Counters, Registry, TelemetryError};

/// The restart budget: deaths of one part within [`WINDOW`] that its restarts make good. With more, the service says that it
/// is not alive, so that whatever runs it starts it anew.
const BUDGET: usize = 10;
const WINDOW: Duration = Duration::from_mins(1);
/// A part that lived for so long has done its work in between; its next restart is at once.
const HEALTHY_LIFE: Duration = Duration::from_millis(100);
/// Pause before the second restart in a row; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// With it, a part that dies at once dies more often within [`WINDOW`] than its budget allows, and who waits for it hears in time that
/// it is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Every part, by name.
#[derive(Debug)]
pub struct Health {
    parts: Mutex<BTreeMap<&'static str, Record>>,
    restarts: Counters,
}

#[derive(Debug, Default)]
struct Record {
    is_down: bool,
    is_gone: bool,
    /// The latest, oldest first: one more than the budget at most.
    deaths: VecDeque<Instant>,
}

impl Record {
    fn is_over_budget(&self, now: Instant) -> bool {
        let recent = self.deaths.iter().filter(|death| now.duration_since(**death) < WINDOW);
        recent.count() > BUDGET
    }
}

impl Health {
    /// Knows no part yet; counts restarts by part.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    pub fn new(registry: &Registry) -> Result<Arc<Self>, TelemetryError> {
        let help = "Actors and loops started again after their death.";
        let restarts = registry.counters("restarts_total", help, &["part"])?;
        Ok(Arc::new(Self { parts: Mutex::default(), restarts }))
    }

    /// Adds a part, which is down until it has started. A second part of the same name shares its record.
    #[must_use]
    pub fn part(self: &Arc<Self>, name: &'static str) -> Part {
        self.restarts.with_label_values(&[name]);
        self.parts().insert(name, Record { is_down: true, ..Record::default() });
        Part { health: Arc::clone(self), name, started: None, pause: Duration::ZERO }
    }

    /// Adds a part that is a loop. It is up from this call on: a service that says that it listens is ready, whenever its
    /// loops are first polled.
    #[must_use]
    pub fn loop_part(self: &Arc<Self>, name: &'static str) -> Part {
        let mut part = self.part(name);
        part.is_up();
        part
    }

    /// A part that is being restarted: the service should get no requests until it is back.
    #[must_use]
    pub fn down(&self) -> Option<&'static str> {
        self.parts().iter().find(|(_, record)| record.is_down).map(|(name, _)| *name)
    }

    /// A part that dies more often than restarts make good, or that nobody starts again.
    #[must_use]
    pub fn failing(&self) -> Option<&'static str> {
        let now = Instant::now();
        self.parts().iter().find(|(_, record)| record.is_gone || record.is_over_budget(now)).map(|(name, _)| *name)
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<&'static str, Record>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One part, held by what starts it again.
#[derive(Debug)]
pub struct Part {
    health: Arc<Health>,
    name: &'static str,
    /// When it last started.
    started: Option<Instant>,
    /// Before the restart after the next death.
    pause: Duration,
}

impl Part {
    /// Its name in logs, metrics and answers of the admin listener.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Notes that it has started.
    pub fn is_up(&mut self) {
        self.started = Some(Instant::now());
        self.record(|record| record.is_down = false);
    }

    /// Notes, logs and counts its death. Gives the pause before its restart.
    #[must_use]
    pub fn has_died(&mut self, cause: &str) -> Duration {
        tracing::error!(part = self.name, cause, "a part of the service died and is started again");
        self.health.restarts.with_label_values(&[self.name]).inc();
        let now = Instant::now();
        self.record(|record| {
            record.is_down = true;
            record.deaths.push_back(now);
            while record.deaths.len() > BUDGET + 1 {
                record.deaths.pop_front();
            }
        });
        if self.started.take().is_some_and(|started| now.duration_since(started) >= HEALTHY_LIFE) {
            self.pause = Duration::ZERO;
        }
        let pause = self.pause;
        self.pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        pause
    }

    /// Notes that it has gone and that nobody starts it again: the service is not alive without it.
    pub fn is_gone(&mut self) {
        self.record(|record| {
            record.is_down = true;
            record.is_gone = true;
        });
    }

    /// Runs the loop that `start` makes, and starts it again whenever it panics. Returns when it ends by itself.
    pub async fn keep_running<F: Future<Output = ()>>(mut self, start: impl Fn() -> F) {
        loop {
            self.is_up();
            // What a loop shares is behind locks and atomics, or its own and gone with it.
            let Err(panic) = AssertUnwindSafe(start()).catch_unwind().await else { return };
            let pause = self.has_died(words(&*panic));
            sleep(pause).await;
        }
    }

    fn record(&self, change: impl FnOnce(&mut Record)) {
        change(self.health.parts().entry(self.name).or_default());
    }
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without words")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn health() -> Arc<Health> {
        Health::new(&Registry::new().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_loop_that_panics_is_counted_and_started_again() {
        let health = health();
        let starts = AtomicUsize::new(0);
        let run = || async {
            assert!(starts.fetch_add(1, Ordering::Relaxed) >= 3, "not yet");
        };
        health.loop_part("loop").keep_running(run).await;
        assert_eq!(starts.load(Ordering::Relaxed), 4);
        assert_eq!(health.restarts.with_label_values(&["loop"]).get(), 3);
        assert_eq!((health.down(), health.failing()), (None, None));
    }

    #[test]
    fn a_loop_is_up_before_it_is_first_polled() {
        let health = health();
        let _unpolled = health.loop_part("loop").keep_running(std::future::pending);
        assert_eq!(health.down(), None);
    }

    #[test]
    fn a_part_is_down_until_it_starts_and_from_its_death_to_its_restart() {
        let health = health();
        let mut part = health.part("part");
        assert_eq!(health.down(), Some("part"));
        part.is_up();
        assert_eq!(health.down(), None);
        assert_eq!(part.has_died("a test"), Duration::ZERO);
        assert_eq!(health.down(), Some("part"));
        part.is_up();
        assert_eq!(health.down(), None);
    }

    #[test]
    fn pauses_grow_while_a_part_dies_at_once() {
        let health = health();
        let mut part = health.part("part");
        let pauses: Vec<_> = (0..12)
            .map(|_| {
                part.is_up();
                part.has_died("a test").as_millis()
            })
            .collect();
        assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000, 1000]);
    }

    #[test]
    fn a_part_that_exceeds_its_budget_is_failing_while_others_are_not() {
        let health = health();
        let (mut part, mut other) = (health.part("part"), health.part("other"));
        for death in 0..=BUDGET {
            assert_eq!(health.failing(), None, "after {death} deaths");
            part.is_up();
            let _ = part.has_died("a test");
        }
        other.is_up();
        assert_eq!(health.failing(), Some("part"));
    }

    #[test]
    fn deaths_of_long_ago_are_forgiven() {
        let mut record = Record::default();
        let now = Instant::now() + WINDOW * 2;
        record.deaths.extend((0..=BUDGET).map(|_| now));
        assert!(record.is_over_budget(now));
        assert!(!record.is_over_budget(now + WINDOW));
    }
}
