//! All SQL about attempts. What is decided is decided in the database, by the functions of its third migration.

use std::time::Duration;

use time::OffsetDateTime;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};

use super::lease::{End, Key, Outcome, Place};
use crate::config;
use crate::database::statements::Connection;

const RESERVE: &str = "SELECT r.granted, r.lease, r.known, r.verdict, ceil(extract(epoch FROM r.wait) * 1000)::bigint
    FROM unnest($1::bytea[], $2::bytea[], $3::integer[]) WITH ORDINALITY AS asked (subject, source, wanted, place),
        LATERAL login_reserve(asked.subject, asked.source, asked.wanted, $4::text::login_rules) AS r
    ORDER BY asked.place";
const RESOLVE: &str = "SELECT login_resolve($1, $2, $3, $4, $5, $6, $7, $8, $9::text::login_rules)";
const REAP: &str = "SELECT login_reap($1, $2)";

/// For how long a network counts as known to an account that has logged in from it.
const KNOWN: Duration = Duration::from_hours(30 * 24);
/// The first pause.
const DELAY: Duration = Duration::from_millis(250);

/// `login_rules` as the database reads it.
pub(super) struct Rules(String);

impl Rules {
    pub(super) fn new(limits: &config::Limits, lease: Duration) -> Self {
        let &config::Limits { lock_after, account_lock_after, delay_after, .. } = limits;
        let [delay, lock, forget, known, lease] =
            [DELAY, limits.lock, limits.forget, KNOWN, lease].map(|duration| format!("{} ms", duration.as_millis()));
        Self(format!("({lock_after},{account_lock_after},{delay_after},{delay},{lock},{forget},{known},{lease})"))
    }
}

/// What those of one line got who asked for places.
pub(super) struct Grant {
    pub(super) granted: i32,
    /// What each of those is, where there are any.
    pub(super) place: Option<Place>,
    /// What stands in the others' way.
    pub(super) verdict: Verdict,
    /// For how long, at least.
    pub(super) wait: Duration,
}

/// What stands in the way of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Too many failures.
    Locked,
    /// The last failure is too fresh.
    Paused,
    /// Attempts under way.
    Pending,
}

/// The counters behind a connection.
pub(super) struct Store<'a>(pub(super) Connection<'a>);

impl Store<'_> {
    /// Asks for so many places under each key; the answers are in the same order.
    pub(super) async fn reserve(&self, wishes: &[(Key, usize)], rules: &Rules) -> Result<Vec<Grant>, Error> {
        let subjects: Vec<_> = wishes.iter().map(|(key, _)| key.subject.as_slice()).collect();
        let sources: Vec<_> = wishes.iter().map(|(key, _)| key.source.as_slice()).collect();
        let wanted: Vec<_> = wishes.iter().map(|(_, wanted)| i32::try_from(*wanted).unwrap_or(i32::MAX)).collect();
        let rows = self
            .0
            .query(
                RESERVE,
                &[
                    (&subjects, Type::BYTEA_ARRAY),
                    (&sources, Type::BYTEA_ARRAY),
                    (&wanted, Type::INT4_ARRAY),
                    (&rules.0, Type::TEXT),
                ],
            )
            .await?;
        rows.iter().map(grant).collect()
    }

    /// Counts and records ends; tells how many locks began.
    pub(super) async fn resolve(&self, ends: &[&End], rules: &Rules) -> Result<u64, Error> {
        let subjects: Vec<_> = ends.iter().map(|end| end.key.subject.as_slice()).collect();
        let sources: Vec<_> = ends.iter().map(|end| end.key.source.as_slice()).collect();
        let leases: Vec<_> = ends.iter().map(|end| end.place.map(|place| place.until)).collect();
        let known: Vec<_> = ends.iter().map(|end| end.place.is_some_and(|place| place.known)).collect();
        let outcomes: Vec<_> = ends.iter().map(|end| outcome(end.outcome)).collect();
        let users: Vec<_> = ends.iter().map(|end| end.user).collect();
        let emails: Vec<_> = ends.iter().map(|end| end.email.as_deref()).collect();
        let networks: Vec<_> = ends.iter().map(|end| end.network.as_deref()).collect();
        let rows = self
            .0
            .query(
                RESOLVE,
                &[
                    (&subjects, Type::BYTEA_ARRAY),
                    (&sources, Type::BYTEA_ARRAY),
                    (&leases, Type::TIMESTAMPTZ_ARRAY),
                    (&known, Type::BOOL_ARRAY),
                    (&outcomes, Type::TEXT_ARRAY),
                    (&users, Type::UUID_ARRAY),
                    (&emails, Type::TEXT_ARRAY),
                    (&networks, Type::TEXT_ARRAY),
                    (&rules.0, Type::TEXT),
                ],
            )
            .await?;
        count(&rows)
    }

    /// Deletes up to `batch` counters; tells how many it were.
    pub(super) async fn reap(&self, batch: i32, rows_max: i64) -> Result<u64, Error> {
        count(&self.0.query(REAP, &[(&batch, Type::INT4), (&rows_max, Type::INT8)]).await?)
    }
}

fn grant(row: &Row) -> Result<Grant, Error> {
    let (until, known): (Option<OffsetDateTime>, _) = (row.try_get(1)?, row.try_get(2)?);
    Ok(Grant {
        granted: row.try_get(0)?,
        place: until.map(|until| Place { until, known }),
        verdict: match row.try_get(3)? {
            "locked" => Verdict::Locked,
            "paused" => Verdict::Paused,
            _ => Verdict::Pending,
        },
        wait: Duration::from_millis(u64::try_from(row.try_get::<_, i64>(4)?).unwrap_or_default()),
    })
}

fn outcome(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        Some(Outcome::Succeeded) => "succeeded",
        Some(Outcome::Failed) => "failed",
        None => "released",
    }
}

fn count(rows: &[Row]) -> Result<u64, Error> {
    let count: i32 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    Ok(u64::try_from(count).unwrap_or_default())
}
