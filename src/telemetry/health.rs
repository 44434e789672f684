//! Which parts of the service are up, and how often one may die before the service is better started anew.
//!
//! A part is an actor, or a loop that the service cannot do without. A part that dies is restarted by its owner: at
//! once the first time, then after growing pauses. Only parts are watched.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::time::sleep;

use super::{Counters, Registry, TelemetryError};

/// The restart budget: most deaths of one part within [`WINDOW`]. With more, `/livez` fails, so that the service
/// manager restarts the service.
const BUDGET: usize = 10;
const WINDOW: Duration = Duration::from_mins(1);
/// A part that lived for so long is restarted at once when it dies.
const HEALTHY_LIFE: Duration = Duration::from_millis(100);
/// Pause before the second restart in a row; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Longest pause before a restart. It is short enough that a part that always dies at once exceeds its budget within
/// [`WINDOW`], and that callers learn in time that the part is down.
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
    /// The latest deaths, oldest first; at most one more than the budget.
    deaths: VecDeque<Instant>,
}

impl Record {
    fn is_over_budget(&self, now: Instant) -> bool {
        let recent = self.deaths.iter().filter(|death| now.duration_since(**death) < WINDOW);
        recent.count() > BUDGET
    }
}

impl Health {
    /// A register without parts; restarts are counted by part.
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

    /// Adds a part that is a loop. It is up from this call on, so that a service that listens is ready before its loops
    /// are first polled.
    #[must_use]
    pub fn loop_part(self: &Arc<Self>, name: &'static str) -> Part {
        let mut part = self.part(name);
        part.is_up();
        part
    }

    /// A part that is being restarted; the service should get no requests until it is up.
    #[must_use]
    pub fn down(&self) -> Option<&'static str> {
        self.parts().iter().find(|(_, record)| record.is_down).map(|(name, _)| *name)
    }

    /// A part that has exceeded its restart budget, or that is not restarted.
    #[must_use]
    pub fn failing(&self) -> Option<&'static str> {
        let now = Instant::now();
        self.parts().iter().find(|(_, record)| record.is_gone || record.is_over_budget(now)).map(|(name, _)| *name)
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<&'static str, Record>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One part, held by its owner, which restarts it.
#[derive(Debug)]
pub struct Part {
    health: Arc<Health>,
    name: &'static str,
    /// When it last started.
    started: Option<Instant>,
    /// Pause before the restart after the next death.
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

    /// Notes that it has ended and is not restarted: the service is not alive without it.
    pub fn is_gone(&mut self) {
        self.record(|record| {
            record.is_down = true;
            record.is_gone = true;
        });
    }

    /// Runs the loop that `start` makes, and restarts it whenever it panics. Returns when the loop ends.
    pub async fn keep_running<F: Future<Output = ()>>(mut self, start: impl Fn() -> F) {
        loop {
            self.is_up();
            // Shared state of a loop is behind locks and atomics; its own state is dropped with it.
            let Err(panic) = AssertUnwindSafe(start()).catch_unwind().await else { return };
            let pause = self.has_died(words(&*panic));
            sleep(pause).await;
        }
    }

    fn record(&self, change: impl FnOnce(&mut Record)) {
        change(self.health.parts().entry(self.name).or_default());
    }
}

/// The message of a panic.
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
