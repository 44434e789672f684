//! All SQL that finds the events to seal, and writes those of rate limits. Its statements are sent unnamed, as those of
//! `database::audit::sealing`.

pub mod log;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, IsolationLevel, Transaction};

use super::hits::HitEvent;
use crate::database::Client;
use crate::features::audit::chain::{Event, Hash, Head};
use crate::features::audit::store::log::{EVENT_COLUMNS, event, sealing};

/// Events that one transaction seals at most: a few milliseconds of hashing.
pub(super) const SEAL_MAX: usize = 2_000;

/// The count stops where it would cost more than it tells.
const WAITING: &str = "SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(happened_at)), 0)::float8
    FROM (SELECT happened_at FROM audit_events WHERE sequence IS NULL ORDER BY event_id LIMIT 10000) AS waiting";
/// A replica that stops in the midst of its transaction gives the head back after a while.
const BEGIN: &str = "SET LOCAL idle_in_transaction_session_timeout = 10000; SET LOCAL synchronous_commit = local";
/// Nothing where another replica is at it.
const HEAD: &str = "SELECT head_sequence, head_hash FROM audit_chain FOR UPDATE SKIP LOCKED";
const APPEND_HITS: &str = "INSERT INTO audit_events (kind, source, detail)
    SELECT 'limit_hit', source, jsonb_build_object('class', class, 'count', hits, 'seconds', seconds)
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS hit (class, source, hits, seconds)";

/// Events that wait to be sealed.
pub(super) struct Waiting {
    /// How many, up to 10,000.
    pub(super) count: i64,
    /// Seconds since the first of them was written.
    pub(super) oldest: f64,
}

/// What a transaction sealed.
#[derive(Default)]
pub(super) struct Batch {
    /// Whether it was this replica's turn.
    pub(super) held: bool,
    /// The kind of each event.
    pub(super) kinds: Vec<String>,
}

/// What waits: read without a lock, and next to nothing where nothing waits.
pub(super) async fn waiting(client: &mut Client) -> Result<Waiting, Error> {
    let row = client.query_typed_one(WAITING, &[]).await?;
    Ok(Waiting { count: row.try_get(0)?, oldest: row.try_get(1)? })
}

/// Seals the first events that nobody has sealed, of all that are committed. Whichever of two events was written first, the
/// one that is committed first may be sealed first: none is left out for having come late.
pub(super) async fn seal(client: &mut Client) -> Result<Batch, Error> {
    // Each statement sees what was committed before it, so the events are read as the last holder of the head left them.
    let transaction = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await?;
    transaction.batch_execute(BEGIN).await?;
    let Some(row) = transaction.query_typed_opt(HEAD, &[]).await? else { return Ok(Batch::default()) };
    let hash = Hash::from_bytes(row.try_get(1)?).unwrap_or(Hash::ZERO);
    let events = unsealed(&transaction).await?;
    let sealed = sealing::seal(&transaction, Head { sequence: row.try_get(0)?, hash }, &events).await?;
    if sealed == events.len() as u64 {
        transaction.commit().await?;
    } else {
        // Somebody removed one meanwhile. The next round sees what there is.
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

/// Writes one event for each.
pub(super) async fn append_hits(client: &mut Client, events: &[HitEvent]) -> Result<(), Error> {
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
    client.execute_typed(APPEND_HITS, &parameters).await.map(|_| ())
}
