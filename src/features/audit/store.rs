//! All SQL that seals events and writes those of rate limits. Statements are sent unnamed, for the reason that
//! `log/sealing.rs` gives.

pub mod log;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, IsolationLevel, Transaction};

use super::refusals::RefusalEvent;
use crate::database::Client;
use crate::features::audit::chain::{Event, Hash, Head};
use crate::features::audit::store::log::{EVENT_COLUMNS, event, sealing};

/// Events that one transaction seals at most: a few milliseconds of hashing.
pub(super) const SEAL_MAX: usize = 2_000;

/// The count is bounded: an exact one would cost more than it is worth.
const WAITING: &str = "SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(happened_at)), 0)::float8
    FROM (SELECT happened_at FROM audit_events WHERE sequence IS NULL ORDER BY event_id LIMIT 10000) AS waiting";
/// A replica that stops in the middle of its transaction gives up the head after 10 seconds.
const BEGIN: &str = "SET LOCAL idle_in_transaction_session_timeout = 10000; SET LOCAL synchronous_commit = local";
/// No row where another replica holds it.
const HEAD: &str = "SELECT head_sequence, head_hash FROM audit_chain FOR UPDATE SKIP LOCKED";
const APPEND_REFUSALS: &str = "INSERT INTO audit_events (kind, source, detail)
    SELECT 'limit_hit', source, jsonb_build_object('class', class, 'count', refusals, 'seconds', seconds)
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS gathered (class, source, refusals, seconds)";

/// Events that wait to be sealed.
pub(super) struct Waiting {
    /// How many, up to 10,000.
    pub(super) count: i64,
    /// Seconds since the first of them was written.
    pub(super) oldest: f64,
}

/// The events that a transaction sealed.
#[derive(Default)]
pub(super) struct Batch {
    /// Whether it was this replica's turn.
    pub(super) held: bool,
    /// The kind of each event.
    pub(super) kinds: Vec<String>,
}

/// Reads what waits: without a lock, and for next to nothing where nothing waits.
pub(super) async fn waiting(client: &mut Client) -> Result<Waiting, Error> {
    let row = client.query_typed_one(WAITING, &[]).await?;
    Ok(Waiting { count: row.try_get(0)?, oldest: row.try_get(1)? })
}

/// Seals committed events that are not sealed yet, up to [`SEAL_MAX`]. Events that are committed late are sealed late,
/// whatever their number: none is left out.
pub(super) async fn seal(client: &mut Client) -> Result<Batch, Error> {
    // Each statement sees what was committed before it, so the events are read as the last holder of the head left
    // them.
    let transaction = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await?;
    transaction.batch_execute(BEGIN).await?;
    let Some(row) = transaction.query_typed_opt(HEAD, &[]).await? else { return Ok(Batch::default()) };
    let hash = Hash::from_bytes(row.try_get(1)?).unwrap_or(Hash::ZERO);
    let events = unsealed(&transaction).await?;
    let sealed = sealing::seal(&transaction, Head { sequence: row.try_get(0)?, hash }, &events).await?;
    if sealed == events.len() as u64 {
        transaction.commit().await?;
    } else {
        // An event was removed meanwhile. The next round reads them again.
        transaction.rollback().await?;
        return Ok(Batch::default());
    }
    Ok(Batch { held: true, kinds: events.into_iter().map(|event| event.kind).collect() })
}

async fn unsealed(transaction: &Transaction<'_>) -> Result<Vec<Event>, Error> {
    let sql =
        format!("SELECT {EVENT_COLUMNS} FROM audit_events WHERE sequence IS NULL ORDER BY event_id LIMIT {SEAL_MAX}");
    transaction.query_typed(&sql, &[]).await?.iter().map(event).collect()
}

/// Writes an event for each network and class.
pub(super) async fn append_refusals(client: &mut Client, events: &[RefusalEvent]) -> Result<(), Error> {
    let classes: Vec<_> = events.iter().map(|event| event.route_class).collect();
    let sources: Vec<_> = events.iter().map(|event| event.source.as_deref()).collect();
    let counts: Vec<_> = events.iter().map(|event| event.count).collect();
    let seconds: Vec<_> = events.iter().map(|event| event.seconds).collect();
    let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
        (&classes, Type::TEXT_ARRAY),
        (&sources, Type::TEXT_ARRAY),
        (&counts, Type::INT8_ARRAY),
        (&seconds, Type::INT8_ARRAY),
    ];
    client.execute_typed(APPEND_REFUSALS, &parameters).await.map(|_| ())
}
