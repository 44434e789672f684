//! Connections, each lent for as long as one piece of work takes, which has a bounded time for both.

use std::error::Error as StdError;
use std::iter;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::time::timeout;
use tokio_postgres::Error;

use super::{Client, Pool, is_of_a_lost_server, root_cause};

/// Why work was not done to its end. What it was to write may have been written all the same, unless it had no connection.
#[derive(Debug, Error)]
pub enum LendError {
    /// There is no connection to be had.
    #[error("no database connection: {0}")]
    NoConnection(String),
    /// The server refused, or is lost.
    #[error("{}", root_cause(.0))]
    Failed(#[from] Error),
    /// It took too long.
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
}

/// Gives `work` a connection of `pool`, and both together the time `limit`. The connection is used again only where the
/// server answered, and is not in doubt for what it said.
pub(crate) async fn lend<T, E: From<LendError> + StdError + 'static>(
    pool: &Pool,
    limit: Duration,
    work: impl AsyncFnOnce(&mut Client) -> Result<T, E>,
) -> Result<T, E> {
    let started = Instant::now();
    let done = timeout(limit, async {
        let client = pool.get().await.map_err(|error| LendError::NoConnection(root_cause(&error)))?;
        let mut loan = Loan { client: Some(client), pool };
        let client = loan.client.as_mut().ok_or_else(|| LendError::NoConnection("it is gone".to_owned()))?;
        let outcome = work(client).await;
        match outcome.as_ref().err().and_then(|error| driver_error(error)) {
            Some(error) if !is_of_a_value(error) => {
                loan.close();
                if is_of_a_lost_server(error) {
                    pool.retain(|_, _| false);
                }
            }
            _ => loan.give_back(),
        }
        outcome
    });
    done.await.unwrap_or_else(|_| {
        // What was not of use meanwhile may lead nowhere either, and cost the next work as much.
        let took = started.elapsed();
        pool.retain(|_, metrics| metrics.last_used() < took);
        Err(LendError::Late(limit).into())
    })
}

/// The driver's error behind `error`; `None` where work found fault with what the server answered.
fn driver_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}

/// Whether the server found fault with a value: data exceptions and violated constraints (SQLSTATE classes 22 and 23). The
/// connection is as good as before.
pub(super) fn is_of_a_value(error: &Error) -> bool {
    error.code().is_some_and(|code| matches!(code.code().get(..2), Some("22" | "23")))
}

/// A connection that goes back to the pool only after it answered. One that failed may lead to a server that refuses writes,
/// or be in the midst of a transaction, and is closed; so is one that was given up on, also where its actor was killed: it may
/// still be busy, and the server is told to leave that.
struct Loan<'a> {
    client: Option<Client>,
    pool: &'a Pool,
}

impl Loan<'_> {
    fn give_back(mut self) {
        self.client = None;
    }

    fn close(mut self) {
        drop(self.client.take().map(Client::take));
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            self.pool.manager().cancel(client.cancel_token());
            drop(Client::take(client));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::audit::store::log::AuditError;
    use crate::features::tokens::store::KeyStoreError;

    #[test]
    fn the_drivers_error_is_found_behind_that_of_a_feature() {
        let error = || "port=none".parse::<tokio_postgres::Config>().unwrap_err();
        assert!(driver_error(&LendError::from(error())).is_some());
        assert!(driver_error(&AuditError::from(error())).is_some());
        assert!(driver_error(&KeyStoreError::from(error())).is_some());
        assert!(driver_error(&KeyStoreError::NoSuchKey("other".to_owned())).is_none());
    }
}
