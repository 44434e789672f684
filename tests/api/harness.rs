//! What the tests stand on: a PostgreSQL server, services in this process, programs in others, and clients for both.

pub mod api;
pub mod app;
pub mod postgres;
pub mod program;
pub mod redis;
pub mod scratch;
pub mod tls;
pub mod wire;

use std::future::Future;
use std::time::Duration;

pub use api::{Answer, Api};
pub use app::TestApp;
pub use postgres::TestDatabase;
pub use program::Home;
pub use wire::Wire;

/// HS256 key of every service under test.
pub const SECRET: &str = "a-secret-of-the-tests-that-is-long-enough";
pub const NAME: &str = "John Doe";
pub const EMAIL: &str = "john.doe@example.com";
pub const PASSWORD: &str = "SecurePass123";

/// Nothing that a test waits for takes that long, on however slow a machine; what does is broken.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The outcome of `future`, or a failed test where there is none: a test never hangs.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: nothing after {PATIENCE:?}"))
}

/// Waits until `condition` holds. The pause between two looks bounds the load, not the outcome.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// The outcomes, in order, of futures that run side by side.
pub async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(move |cx| {
        for (future, outcome) in &mut waiting {
            if outcome.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(cx)
            {
                *outcome = Some(ready);
            }
        }
        if waiting.iter().any(|(_, outcome)| outcome.is_none()) {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(waiting.iter_mut().filter_map(|(_, outcome)| outcome.take()).collect())
    })
    .await
}
