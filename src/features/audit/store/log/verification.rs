//! The whole log, checked in constant memory.

use std::time::Duration;

use tokio_postgres::IsolationLevel;

use super::{AuditError, AuditLog, EVENT_COLUMNS, Ends, ends, sealed};
use crate::database::Client;
use crate::database::lender::lend;
use crate::features::audit::chain::Head;
use crate::features::audit::chain::walk::Walk;

/// Events that are read at once: a megabyte of memory at most, and few round trips.
const PAGE: usize = 2_000;
/// Deadline of a verification: a long log takes hours.
const WHOLE: Duration = Duration::MAX;

/// The contents of a verified log.
#[derive(Debug, Clone, Copy)]
pub struct Verified {
    /// Where its chain starts and ends.
    pub ends: Ends,
    /// The event of the pruning that made it start there.
    pub pruned_by: Option<i64>,
    /// Events that are not sealed yet, and so not verified.
    pub unsealed: i64,
}

impl AuditLog {
    /// Walks the chain from its start to its head, and compares with `anchor` on the way. It reads one snapshot,
    /// whatever is written or sealed meanwhile.
    ///
    /// # Errors
    /// [`AuditError`]: the first break in the chain.
    pub async fn verify(&self, anchor: Option<Head>) -> Result<Verified, AuditError> {
        lend(&self.pool, WHOLE, async |client| verify(client, anchor).await).await
    }
}

async fn verify(client: &mut Client, anchor: Option<Head>) -> Result<Verified, AuditError> {
    let transaction =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    transaction.batch_execute("SET LOCAL statement_timeout = 0").await?;
    let ends = ends(&*transaction).await?;
    let mut walk = Walk::new(ends.start, ends.head, anchor)?;
    let cursor = format!(
        "DECLARE walk NO SCROLL CURSOR FOR SELECT {EVENT_COLUMNS}, sequence, hash FROM audit_events
         WHERE sequence IS NOT NULL ORDER BY sequence"
    );
    transaction.batch_execute(&cursor).await?;
    let next = format!("FETCH {PAGE} FROM walk");
    loop {
        let rows = transaction.query_typed(&next, &[]).await?;
        for row in &rows {
            walk.step(&sealed(row)?)?;
        }
        if rows.len() < PAGE {
            break;
        }
    }
    let pruned_by = walk.finish()?;
    let unsealed = "SELECT count(*) FROM audit_events WHERE sequence IS NULL";
    let unsealed = transaction.query_typed_one(unsealed, &[]).await?.try_get(0)?;
    Ok(Verified { ends, pruned_by, unsealed })
}
