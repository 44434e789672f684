//! The clock of HTTP/1 connections: deadlines for hyper without timers.
//!
//! hyper sets a timer before each request's head and drops it after, and tokio's timers take a lock that all threads
//! share. These here wake no task. The server polls each connection once per `LOOK`, and hyper then finds that a
//! deadline has passed. [`Spread`] keeps timeouts that begin together from ending together.

use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// A timer for hyper whose sleeps wake no task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock;

/// A sleep that is over when it is polled at this instant or later.
struct Until(Instant);

impl Timer for Clock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Until(deadline))
    }
}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if Instant::now() < self.0 { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Sleep for Until {}

/// Different parts of a span of time, evenly spread, so that timeouts that begin together do not end together.
#[derive(Debug)]
pub(super) struct Spread {
    span: Duration,
    count: AtomicU32,
}

impl Spread {
    /// Parts of `span`.
    pub(super) fn new(span: Duration) -> Self {
        Self { span, count: AtomicU32::new(0) }
    }

    /// The next part: multiples of the golden ratio, whose fractions lie as far apart as can be (Knuth, The Art of Computer
    /// Programming, volume 3, section 6.4).
    pub(super) fn next(&self) -> Duration {
        const GOLDEN: u32 = 0x9E37_79B9;
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        self.span.mul_f64(f64::from(count.wrapping_mul(GOLDEN)) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn it_is_time_when_the_deadline_is_past() {
        let look = |mut sleep: Pin<Box<dyn Sleep>>| sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(look(Clock.sleep(Duration::ZERO)).is_ready());
        assert!(look(Clock.sleep(Duration::from_hours(1))).is_pending());
    }

    #[test]
    fn parts_are_spread_over_the_span() {
        let spread = Spread::new(Duration::from_secs(1));
        let mut parts: Vec<_> = (0..300).map(|_| spread.next()).collect();
        parts.sort();
        let gaps = parts.windows(2).map(|pair| pair[1].abs_diff(pair[0]));
        assert!(gaps.max().unwrap() < Duration::from_millis(10), "three times what is even");
        assert!(parts[0] < Duration::from_millis(10) && parts[299] > Duration::from_millis(990));
        assert!(parts[299] <= Duration::from_secs(1));
    }
}
