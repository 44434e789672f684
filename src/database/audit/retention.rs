//! Old events, removed so that what is left can still be verified.

use time::OffsetDateTime;
use tokio_postgres::types::{ToSql, Type};

use super::{AuditError, AuditLog, ends};
use crate::domain::audit::{Hash, Head};

/// Rows that one transaction deletes, so that none takes long.
const BATCH: i64 = 5_000;

/// What a pruning did.
#[derive(Debug, Clone, Copy)]
pub struct Pruned {
    /// Events that are gone.
    pub removed: u64,
    /// Where the chain starts now: the last event that was removed, or was before.
    pub start: Head,
}

impl AuditLog {
    /// Removes the events before the first that happened at `before` or later. Where it is interrupted, whole batches are
    /// gone, and the chain holds from the next event on.
    ///
    /// # Errors
    /// [`AuditError`].
    pub async fn prune(&self, before: OffsetDateTime) -> Result<Pruned, AuditError> {
        let mut removed = 0;
        loop {
            let (count, start) = self.in_time(self.prune_batch(before)).await?;
            removed += count;
            if count == 0 {
                return Ok(Pruned { removed, start });
            }
        }
    }

    async fn prune_batch(&self, before: OffsetDateTime) -> Result<(u64, Head), AuditError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        // One at a time; the sealer, which moves the other end, comes back later.
        let begin = "SET LOCAL rollcall.audit_prune = 'on'; SELECT FROM audit_chain FOR UPDATE";
        transaction.batch_execute(begin).await?;
        let start = ends(&*transaction).await?.start;
        let oldest = "SELECT sequence, hash, happened_at < $1 FROM audit_events
                      WHERE sequence > $2 ORDER BY sequence LIMIT $3";
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&before, Type::TIMESTAMPTZ), (&start.sequence, Type::INT8), (&BATCH, Type::INT8)];
        let rows = transaction.query_typed(oldest, &parameters).await?;
        let mut last = None;
        for row in &rows {
            if !row.try_get::<_, bool>(2)? {
                break;
            }
            let hash = Hash::from_bytes(row.try_get(1)?);
            let sequence = row.try_get(0)?;
            last = hash.map(|hash| Head { sequence, hash });
        }
        let Some(last) = last else { return Ok((0, start)) };
        let end: [(&(dyn ToSql + Sync), Type); 2] =
            [(&last.sequence, Type::INT8), (&last.hash.as_bytes(), Type::BYTEA)];
        transaction.execute_typed("UPDATE audit_chain SET start_sequence = $1, start_hash = $2", &end).await?;
        let delete = "DELETE FROM audit_events WHERE sequence <= $1";
        let count = transaction.execute_typed(delete, &[(&last.sequence, Type::INT8)]).await?;
        transaction.commit().await?;
        Ok((count, last))
    }
}
