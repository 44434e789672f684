//! Lends connections: one for each piece of work, with a deadline for both.

use std::error::Error as StdError;
use std::iter;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::time::timeout;
use tokio_postgres::Error;

use super::{Client, Pool, is_of_a_lost_server, root_cause};

/// Why work did not complete. Its writes may have been committed all the same, except with [`LendError::NoConnection`].
#[derive(Debug, Error)]
pub enum LendError {
    /// No connection was free, or none could be opened.
    #[error("no database connection: {0}")]
    NoConnection(String),
    /// The server refused, or was lost.
    #[error("{}", root_cause(.0))]
    Failed(#[from] Error),
    /// It took too long.
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
}

/// Lends `work` a connection of `pool`; `limit` is the deadline of both together. The connection is used again only if
/// the server answered without an error that puts it in doubt.
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
        // Connections that have been idle since then may be lost as well, and the next work would lose as much time.
        let took = started.elapsed();
        pool.retain(|_, metrics| metrics.last_used() < took);
        Err(LendError::Late(limit).into())
    })
}

/// The driver's error behind `error`; `None` where work failed for another reason.
fn driver_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}

/// Whether the server refused a value: data exceptions and violated constraints (SQLSTATE classes 22 and 23). The
/// connection is still good.
pub(super) fn is_of_a_value(error: &Error) -> bool {
    error.code().is_some_and(|code| matches!(code.code().get(..2), Some("22" | "23")))
}

/// A connection that goes back to the pool only after the server answered. After an error it is closed, because its
/// server may refuse writes, or it may be inside a transaction. One whose work was dropped at its deadline or with its
/// task may still be busy: it is closed, and its statement cancelled.
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
