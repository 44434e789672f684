//! Seals events: gives them their places in the chain.
//!
//! Statements are sent unnamed, as a proxy in transaction mode needs it: preparing them would gain nothing for two
//! rounds a second.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Transaction};

use crate::features::audit::chain::{Event, Hash, Head};

const SEAL: &str = "UPDATE audit_events AS e SET sequence = s.sequence, hash = s.hash
    FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS s (event_id, sequence, hash)
    WHERE e.event_id = s.event_id AND e.sequence IS NULL";
const MOVE_HEAD: &str = "UPDATE audit_chain SET head_sequence = $1, head_hash = $2";

/// Seals `events` in their order behind `head`, which the transaction keeps locked, and moves the head. Returns how
/// many of them were there to be sealed.
pub(crate) async fn seal(transaction: &Transaction<'_>, mut head: Head, events: &[Event]) -> Result<u64, Error> {
    let (mut sequences, mut hashes) = (Vec::with_capacity(events.len()), Vec::with_capacity(events.len()));
    for event in events {
        let sequence = head.sequence + 1;
        head = Head { sequence, hash: event.hash(head.hash, sequence) };
        sequences.push(sequence);
        hashes.push(head.hash);
    }
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    let hashes: Vec<_> = hashes.iter().map(Hash::as_bytes).collect();
    let places: [(&(dyn ToSql + Sync), Type); 3] =
        [(&ids, Type::INT8_ARRAY), (&sequences, Type::INT8_ARRAY), (&hashes, Type::BYTEA_ARRAY)];
    let sealed = transaction.execute_typed(SEAL, &places).await?;
    let head: [(&(dyn ToSql + Sync), Type); 2] = [(&head.sequence, Type::INT8), (&head.hash.as_bytes(), Type::BYTEA)];
    transaction.execute_typed(MOVE_HEAD, &head).await?;
    Ok(sealed)
}
