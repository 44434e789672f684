//! A deadline for clients that read slowly.
//!
//! tokio-io-timeout starts its time again with every byte taken, so that a client could read byte by byte for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// Bytes that a client has to take before the deadline, unless it takes all there are. A client that reads a byte now
/// and then would otherwise keep its connection for as long as it likes.
const SHARE: usize = 64 * 1024;

/// The deadline: it begins when nothing more can be written, and ends when the client has taken its share.
#[derive(Debug)]
pub(super) struct WriteDeadline {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    taken: usize,
}

impl WriteDeadline {
    /// A deadline of `limit`, which has not begun.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, timer: None, taken: 0 }
    }

    /// Notes that `count` bytes were written.
    pub(super) fn wrote(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count);
        if self.taken >= SHARE {
            self.end();
        }
    }

    /// Ends the deadline: everything has been written.
    pub(super) fn end(&mut self) {
        self.timer = None;
        self.taken = 0;
    }

    /// Begins the deadline, unless it has begun. Ready once it is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    const NEVER: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn a_stall_lasts_until_its_limit() {
        let mut stall = WriteDeadline::new(Duration::from_millis(1));
        let error = poll_fn(|cx| stall.poll(cx)).await;
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn little_by_little_is_too_little() {
        let mut stall = WriteDeadline::new(Duration::from_millis(1));
        let dripping = poll_fn(|cx| {
            stall.wrote(1);
            stall.poll(cx)
        });
        assert_eq!(dripping.await.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_share_or_the_end_begins_the_time_anew() {
        for anew in [(|stall: &mut WriteDeadline| stall.wrote(SHARE)) as fn(&mut WriteDeadline), WriteDeadline::end] {
            let mut stall = WriteDeadline::new(NEVER);
            // Begun, and not over at once.
            assert!(timeout(Duration::ZERO, poll_fn(|cx| stall.poll(cx))).await.is_err());
            assert!(stall.timer.is_some());
            anew(&mut stall);
            assert!(stall.timer.is_none() && stall.taken == 0);
        }
    }
}
