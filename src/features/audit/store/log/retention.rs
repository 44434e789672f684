//! Removes old events so that the rest still verifies, and records that.

use time::OffsetDateTime;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Transaction};

use super::{AuditError, AuditLog, EVENT_COLUMNS, Ends, ends, event, sealing};
use crate::database::Client;
use crate::database::lender::lend;
use crate::features::audit::chain::{Event, Hash, Head, pruning};

/// Rows that one transaction deletes, so that none takes long.
const BATCH: i64 = 5_000;

/// One pruning at a time. The sealer moves the other end of the chain: it finds the row locked and skips its round.
const BEGIN: &str = "SET LOCAL rollcall.audit_prune = 'on'; SELECT FROM audit_chain FOR UPDATE";
/// Events dated in the future, which anyone who may add events can write, do not keep the events behind them.
const OLDEST: &str =
    "SELECT sequence, hash, happened_at < $1 OR happened_at > now() + INTERVAL '1 day' FROM audit_events
    WHERE sequence > $2 AND sequence <= $3 ORDER BY sequence LIMIT $4";
const MOVE_START: &str = "UPDATE audit_chain SET start_sequence = $1, start_hash = $2";
const DELETE: &str = "DELETE FROM audit_events WHERE sequence <= $1";

/// The result of a pruning.
#[derive(Debug, Clone, Copy)]
pub struct Pruned {
    /// Number of removed events.
    pub removed: u64,
    /// The new start of the chain: the last removed event, or the old start.
    pub start: Head,
}

impl AuditLog {
    /// Removes the events before the first that happened at `before` or later. Each batch is one transaction with its
    /// event, which is sealed at once; an interrupted pruning has removed whole batches.
    ///
    /// # Errors
    /// [`AuditError`].
    pub async fn prune(&self, before: OffsetDateTime) -> Result<Pruned, AuditError> {
        // Later events stay: otherwise each batch would remove the event of the one before.
        let until = self.ends().await?.head.sequence;
        let mut removed = 0;
        loop {
            let (count, start) =
                lend(&self.pool, self.timeout, async |client| prune_batch(client, before, until).await).await?;
            removed += count;
            if count == 0 {
                return Ok(Pruned { removed, start });
            }
        }
    }
}

async fn prune_batch(client: &mut Client, before: OffsetDateTime, until: i64) -> Result<(u64, Head), AuditError> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(BEGIN).await?;
    let Ends { start, head } = ends(&*transaction).await?;
    let Some(last) = last_before(&transaction, before, start.sequence, until).await? else {
        return Ok((0, start));
    };
    let end: [(&(dyn ToSql + Sync), Type); 2] = [(&last.sequence, Type::INT8), (&last.hash.as_bytes(), Type::BYTEA)];
    transaction.execute_typed(MOVE_START, &end).await?;
    let count = transaction.execute_typed(DELETE, &[(&last.sequence, Type::INT8)]).await?;
    let event = append_event(&transaction, &pruning::detail(last, count, before)).await?;
    sealing::seal(&transaction, head, &[event]).await?;
    transaction.commit().await?;
    Ok((count, last))
}

/// The last of the next events behind `start` and up to `until` that all happened before `before`.
async fn last_before(
    transaction: &Transaction<'_>,
    before: OffsetDateTime,
    start: i64,
    until: i64,
) -> Result<Option<Head>, Error> {
    let parameters: [(&(dyn ToSql + Sync), Type); 4] =
        [(&before, Type::TIMESTAMPTZ), (&start, Type::INT8), (&until, Type::INT8), (&BATCH, Type::INT8)];
    let mut last = None;
    for row in &transaction.query_typed(OLDEST, &parameters).await? {
        if !row.try_get::<_, bool>(2)? {
            break;
        }
        let (hash, sequence) = (Hash::from_bytes(row.try_get(1)?), row.try_get(0)?);
        last = hash.map(|hash| Head { sequence, hash });
    }
    Ok(last)
}

async fn append_event(transaction: &Transaction<'_>, detail: &str) -> Result<Event, Error> {
    let sql = format!("INSERT INTO audit_events (kind, detail) VALUES ($1, $2::jsonb) RETURNING {EVENT_COLUMNS}");
    let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&pruning::KIND, Type::TEXT), (&detail, Type::TEXT)];
    event(&transaction.query_typed_one(&sql, &parameters).await?)
}
