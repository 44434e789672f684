//! All SQL about attempts. The database keeps the rows locked while policy.rs decides.

mod rows;

use std::collections::HashMap;

use tokio_postgres::Error;
use tokio_postgres::types::Type;

use super::lease::{End, Key};
use super::policy::{self, Counter, Ended, Grant, Locks, Rules};
use crate::database::Pool;
use crate::database::statements::{Connection, Parameter, Statements, Unavailable};
use crate::domain::moment::Moment;
use rows::{Events, Rows};

// The time is read after the last lock is held: rows come out of the function when it has ended.
const HOLD: &str = "SELECT h.place, h.of_account, h.failures, h.failed_at, h.leases, h.known_until, h.expires_at,
        h.locks, clock_timestamp()
    FROM login_hold($1, $2, $3, $4::bigint * INTERVAL '1 microsecond') AS h";
// The leases of all rows in one array, and where each row's begin and end.
const WRITE: &str = "INSERT INTO login_attempts (subject, source, failures, failed_at, leases, known_until, expires_at, locks)
    SELECT c.subject, c.source, c.failures, c.failed_at, ($10::timestamptz[])[c.first:c.last], c.known_until, c.expires_at,
        c.locks
    FROM unnest(
        $1::bytea[], $2::bytea[], $3::integer[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::smallint[],
        $8::integer[], $9::integer[]
    ) AS c (subject, source, failures, failed_at, known_until, expires_at, locks, first, last)
    ON CONFLICT (subject, source) DO UPDATE SET failures = excluded.failures, failed_at = excluded.failed_at,
        leases = excluded.leases, known_until = excluded.known_until, expires_at = excluded.expires_at,
        locks = excluded.locks";
// The events are those of audit_append, for all rows at once.
const RECORD: &str = "INSERT INTO audit_events (kind, user_id, email, source, detail)
    SELECT t.kind, t.user_id, t.email, t.source,
        CASE WHEN t.scope IS NULL THEN '{}' ELSE jsonb_build_object('of', t.scope, 'seconds', t.seconds) END
    FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[]) WITH ORDINALITY
        AS t (kind, user_id, email, source, scope, seconds, place)
    ORDER BY t.place";
// The rows of an account are a range of the primary key.
const KNOWN: &str = "SELECT k.subject, k.source
    FROM unnest($1::bytea[]) AS asked (subject), LATERAL (
        SELECT a.subject, a.source FROM login_attempts AS a
        WHERE a.subject = asked.subject AND a.known_until > clock_timestamp() LIMIT $2
    ) AS k";
const REAP: &str = "SELECT login_reap($1, $2)";

/// The table of counters: its connections, how statements are sent, and the rules.
#[derive(Clone)]
pub(super) struct Counters {
    pub(super) pool: Pool,
    pub(super) statements: Statements,
    pub(super) rules: Rules,
}

impl Counters {
    /// Asks for a number of leases under each key; the answers are in the same order.
    pub(super) async fn reserve(&self, requests: &[(Key, usize)]) -> Result<Vec<Grant>, Unavailable> {
        let statement = async |connection: Connection<'_>| Store(connection).reserve(requests, &self.rules).await;
        self.statements.run(&self.pool, "reserve_attempts", requests.len(), statement).await
    }

    /// The networks that each account knows, at most `max` per account.
    pub(super) async fn known(&self, subjects: &[[u8; 32]], max: usize) -> Result<Vec<Key>, Unavailable> {
        let statement = async |connection: Connection<'_>| Store(connection).known(subjects, max).await;
        self.statements.run(&self.pool, "known_networks", subjects.len(), statement).await
    }

    /// Counts and records ends, which come sorted by their keys; returns how many locks began.
    pub(super) async fn resolve(&self, ends: &[End]) -> Result<u64, Unavailable> {
        let statement = async |connection: Connection<'_>| Store(connection).resolve(ends, &self.rules).await;
        self.statements.run(&self.pool, "resolve_attempts", ends.len(), statement).await
    }

    /// Deletes up to `batch` counters; returns how many.
    pub(super) async fn reap(&self, batch: i32, rows_max: i64) -> Result<u64, Unavailable> {
        let statement = async |connection: Connection<'_>| Store(connection).reap(batch, rows_max).await;
        self.statements.run(&self.pool, "reap_attempts", 1, statement).await
    }
}

/// The counters behind a connection.
struct Store<'a>(Connection<'a>);

/// The counters of one key, locked.
#[derive(Default)]
struct Held {
    account: Option<Counter>,
    own: Option<Counter>,
}

impl Store<'_> {
    async fn reserve(&self, requests: &[(Key, usize)], rules: &Rules) -> Result<Vec<Grant>, Error> {
        let keys: Vec<_> = requests.iter().map(|(key, _)| *key).collect();
        let (now, held) = self.hold(&keys, None, rules).await?;
        let mut grants = Vec::with_capacity(requests.len());
        let mut changed = Rows::default();
        for ((key, wanted), Held { mut account, own }) in requests.iter().zip(held) {
            // A missing row is made with the first grant. Other transactions that would make it wait for the account's
            // lock.
            let mut own = own.unwrap_or_else(|| Counter::new(now, rules));
            let grant = policy::reserve(now, &mut own, account.as_mut(), *wanted, rules);
            if grant.granted > 0 {
                changed.add(key, account.as_ref(), &own);
            }
            grants.push(grant);
        }
        // Where nothing has changed, the locks are rolled back, which waits for no disk.
        if !changed.is_empty() {
            self.0.commit(&[(WRITE, &changed.parameters())]).await?;
        }
        Ok(grants)
    }

    async fn known(&self, subjects: &[[u8; 32]], max: usize) -> Result<Vec<Key>, Error> {
        if subjects.is_empty() {
            return Ok(Vec::new());
        }
        let subjects: Vec<_> = subjects.iter().map(<[u8; 32]>::as_slice).collect();
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let rows = self.0.query(KNOWN, &[(&subjects, Type::BYTEA_ARRAY), (&max, Type::INT8)]).await?;
        let mut known = Vec::with_capacity(rows.len());
        for row in &rows {
            let (subject, source): (&[u8], &[u8]) = (row.try_get(0)?, row.try_get(1)?);
            // Rows with keys of another length are not this service's.
            if let (Ok(subject), Ok(source)) = (subject.try_into(), source.try_into()) {
                known.push(Key { subject, source });
            }
        }
        Ok(known)
    }

    async fn resolve(&self, ends: &[End], rules: &Rules) -> Result<u64, Error> {
        let mut held: Vec<_> = ends.iter().filter_map(|end| Some((end.key, end.lease?.known))).collect();
        // They come sorted, and those of one account lock the same counters.
        held.dedup();
        let (keys, known): (Vec<_>, Vec<_>) = held.into_iter().unzip();
        let (now, held) = self.hold(&keys, Some(&known), rules).await?;
        let mut held: HashMap<_, _> = keys.into_iter().zip(held).collect();
        let mut events = Events::default();
        let mut begun = 0;
        for end in ends {
            let mut locks = Locks::default();
            if let (Some(lease), Some(Held { account, own: Some(own) })) = (end.lease, held.get_mut(&end.key)) {
                let ended = Ended { lease: lease.until, outcome: end.outcome };
                locks = policy::resolve(now, own, account.as_mut(), ended, rules);
            }
            begun += u64::from(locks.network.is_some()) + u64::from(locks.account.is_some());
            events.add(end, &locks);
        }
        let mut changed = Rows::default();
        for (key, counters) in &held {
            if let Held { account, own: Some(own) } = counters {
                changed.add(key, account.as_ref(), own);
            }
        }
        // The events come last: whatever they wait for, no counter is still to be locked.
        self.0.commit(&[(WRITE, &changed.parameters()), (RECORD, &events.parameters())]).await?;
        Ok(begun)
    }

    /// Locks the counters of each key, and returns them with the time at which all are locked. `known` says for each
    /// key whether the account knows the network, where that is already known.
    async fn hold(&self, keys: &[Key], known: Option<&[bool]>, rules: &Rules) -> Result<(Moment, Vec<Held>), Error> {
        let subjects: Vec<_> = keys.iter().map(|key| key.subject.as_slice()).collect();
        let sources: Vec<_> = keys.iter().map(|key| key.source.as_slice()).collect();
        let lease = i64::try_from(rules.lease.as_micros()).unwrap_or(i64::MAX);
        let parameters: [Parameter<'_>; 4] = [
            (&subjects, Type::BYTEA_ARRAY),
            (&sources, Type::BYTEA_ARRAY),
            (&known, Type::BOOL_ARRAY),
            (&lease, Type::INT8),
        ];
        let rows = self.0.begin(HOLD, &parameters).await?;
        let mut held: Vec<_> = keys.iter().map(|_| Held::default()).collect();
        // Without a row there is no counter to ask the time for.
        let mut now = Moment(0);
        for row in &rows {
            let place: i32 = row.try_get(0)?;
            if let Some(held) = usize::try_from(place - 1).ok().and_then(|place| held.get_mut(place)) {
                let counter = if row.try_get(1)? { &mut held.account } else { &mut held.own };
                *counter = Some(rows::counter(row)?);
            }
            now = row.try_get(8)?;
        }
        Ok((now, held))
    }

    async fn reap(&self, batch: i32, rows_max: i64) -> Result<u64, Error> {
        let rows = self.0.query(REAP, &[(&batch, Type::INT4), (&rows_max, Type::INT8)]).await?;
        let count: i32 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        Ok(u64::try_from(count).unwrap_or_default())
    }
}
