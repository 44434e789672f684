//! The audit log as it is read: from end to end to verify it, or page by page to show it.

mod retention;
pub(crate) mod sealing;
mod verification;

use std::time::Duration;

use thiserror::Error;
use time::OffsetDateTime;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{GenericClient, Row};
use uuid::Uuid;

use crate::database::Pool;
use crate::database::lender::{LendError, lend};
use crate::features::audit::chain::walk::Break;
use crate::features::audit::chain::{Event, Hash, Head, Sealed};
pub use retention::Pruned;
pub use verification::Verified;

/// Why the log can't be read, or does not verify.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The database does not answer, or refuses.
    #[error("the audit log cannot be read: {0}")]
    Unreadable(#[from] LendError),
    /// The chain is broken.
    #[error("the audit log does not hold: {0}")]
    Broken(#[from] Break),
}

impl From<tokio_postgres::Error> for AuditError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Unreadable(error.into())
    }
}

/// The columns that [`event`] reads, in its order.
pub(crate) const EVENT_COLUMNS: &str = "event_id, happened_at, kind, user_id, email, source, detail::text";

/// The event in the first columns of a row.
pub(crate) fn event(row: &Row) -> Result<Event, tokio_postgres::Error> {
    Ok(Event {
        id: row.try_get(0)?,
        at: row.try_get(1)?,
        kind: row.try_get(2)?,
        user_id: row.try_get(3)?,
        email: row.try_get(4)?,
        source: row.try_get(5)?,
        detail: row.try_get(6)?,
    })
}

/// The two ends of the chain.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// The last event that was pruned, or the head before the first event.
    pub start: Head,
    /// The last event that was sealed.
    pub head: Head,
}

/// Which events to show.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Events that happened then or later.
    pub since: Option<OffsetDateTime>,
    /// Events of these kinds; all kinds where empty.
    pub kinds: Vec<String>,
    /// Events of this user.
    pub user: Option<Uuid>,
}

/// The log in a database.
#[derive(Debug, Clone)]
pub struct AuditLog {
    pool: Pool,
    timeout: Duration,
}

impl AuditLog {
    /// The log behind `pool`. Each page takes at most `timeout`.
    #[must_use]
    pub fn new(pool: Pool, timeout: Duration) -> Self {
        Self { pool, timeout }
    }

    /// Where the chain starts and ends.
    ///
    /// # Errors
    /// [`AuditError`].
    pub async fn ends(&self) -> Result<Ends, AuditError> {
        lend(&self.pool, self.timeout, async |client| ends(&***client).await).await
    }

    /// The first `max` events that pass `filter`, of those behind the place `after` and up to `last`.
    ///
    /// # Errors
    /// [`AuditError::Unreadable`].
    pub async fn page(&self, filter: &Filter, after: i64, last: i64, max: i64) -> Result<Vec<Sealed>, AuditError> {
        let sql = format!(
            "SELECT {EVENT_COLUMNS}, sequence, hash FROM audit_events
             WHERE sequence > $1 AND sequence <= $2 AND ($3::timestamptz IS NULL OR happened_at >= $3)
               AND ($4::uuid IS NULL OR user_id = $4) AND (cardinality($5::text[]) = 0 OR kind = ANY($5))
             ORDER BY sequence LIMIT $6"
        );
        let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
            (&after, Type::INT8),
            (&last, Type::INT8),
            (&filter.since, Type::TIMESTAMPTZ),
            (&filter.user, Type::UUID),
            (&filter.kinds, Type::TEXT_ARRAY),
            (&max, Type::INT8),
        ];
        lend(&self.pool, self.timeout, async |client| {
            let rows = client.query_typed(&sql, &parameters).await?;
            Ok(rows.iter().map(sealed).collect::<Result<_, _>>()?)
        })
        .await
    }
}

fn sealed(row: &Row) -> Result<Sealed, tokio_postgres::Error> {
    let hash: &[u8] = row.try_get::<_, Option<_>>(8)?.unwrap_or_default();
    Ok(Sealed { event: event(row)?, sequence: row.try_get(7)?, hash: Hash::from_bytes(hash) })
}

async fn ends(client: &impl GenericClient) -> Result<Ends, AuditError> {
    let sql = "SELECT start_sequence, start_hash, head_sequence, head_hash FROM audit_chain";
    let row = client.query_typed_opt(sql, &[]).await?.ok_or(Break::NoHead)?;
    let head = |at: usize| {
        let hash = Hash::from_bytes(row.try_get(at + 1)?).unwrap_or(Hash::ZERO);
        Ok::<_, tokio_postgres::Error>(Head { sequence: row.try_get(at)?, hash })
    };
    Ok(Ends { start: head(0)?, head: head(2)? })
}
