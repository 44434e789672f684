//! The time, as hyper is told it on HTTP/1 connections.
//!
//! hyper sets a timer before each request's head and drops it after, which takes a lock that all threads share. Here nobody
//! is woken: whoever serves a connection polls it now and then (the `LOOK` of its server), and what is over by then is
//! found to be over.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// A timer of hyper's that has to be looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock;

/// Is over from this instant on.
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
}
