//! Conversion between counters, events and the columns of statements.

use std::time::Duration;

use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use crate::database::statements::Parameter;
use crate::domain::moment::Moment;
use crate::features::login::lease::{End, Key, Outcome};
use crate::features::login::policy::{Counter, Locks};

/// The counter in a row of the statement that holds it.
pub(super) fn counter(row: &Row) -> Result<Counter, Error> {
    Ok(Counter {
        failures: row.try_get(2)?,
        failed_at: row.try_get(3)?,
        leases: row.try_get(4)?,
        known_until: row.try_get(5)?,
        expires_at: row.try_get(6)?,
        locks: row.try_get(7)?,
    })
}

/// Counters to write.
#[derive(Default)]
pub(super) struct Rows {
    subjects: Vec<Vec<u8>>,
    sources: Vec<Vec<u8>>,
    failures: Vec<i32>,
    failed_at: Vec<Moment>,
    known_until: Vec<Moment>,
    expires_at: Vec<Moment>,
    locks: Vec<i16>,
    /// The leases of all counters, one after the other.
    leases: Vec<Moment>,
    /// Where each counter's leases begin, from 1, and end.
    first: Vec<i32>,
    last: Vec<i32>,
}

impl Rows {
    pub(super) fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    pub(super) fn add(&mut self, key: &Key, account: Option<&Counter>, own: &Counter) {
        if let Some(account) = account {
            self.add_row(key, &[], account);
        }
        self.add_row(key, &key.source, own);
    }

    fn add_row(&mut self, key: &Key, source: &[u8], counter: &Counter) {
        self.subjects.push(key.subject.to_vec());
        self.sources.push(source.to_vec());
        self.failures.push(counter.failures);
        self.failed_at.push(counter.failed_at);
        self.known_until.push(counter.known_until);
        self.expires_at.push(counter.expires_at);
        self.locks.push(counter.locks);
        let count = |leases: &[Moment]| i32::try_from(leases.len()).unwrap_or(i32::MAX);
        self.first.push(count(&self.leases).saturating_add(1));
        self.leases.extend_from_slice(&counter.leases);
        self.last.push(count(&self.leases));
    }

    pub(super) fn parameters(&self) -> [Parameter<'_>; 10] {
        [
            (&self.subjects, Type::BYTEA_ARRAY),
            (&self.sources, Type::BYTEA_ARRAY),
            (&self.failures, Type::INT4_ARRAY),
            (&self.failed_at, Type::TIMESTAMPTZ_ARRAY),
            (&self.known_until, Type::TIMESTAMPTZ_ARRAY),
            (&self.expires_at, Type::TIMESTAMPTZ_ARRAY),
            (&self.locks, Type::INT2_ARRAY),
            (&self.first, Type::INT4_ARRAY),
            (&self.last, Type::INT4_ARRAY),
            (&self.leases, Type::TIMESTAMPTZ_ARRAY),
        ]
    }
}

/// Events to record.
#[derive(Default)]
pub(super) struct Events<'a> {
    kinds: Vec<&'static str>,
    users: Vec<Option<Uuid>>,
    emails: Vec<Option<&'a str>>,
    networks: Vec<Option<&'a str>>,
    scopes: Vec<Option<&'static str>>,
    seconds: Vec<Option<i64>>,
}

impl<'a> Events<'a> {
    /// The events of one end, in their order.
    pub(super) fn add(&mut self, end: &'a End, locks: &Locks) {
        match end.outcome {
            Some(Outcome::Succeeded) => self.add_row("login_succeeded", end, None),
            Some(Outcome::Failed) => self.add_row("login_failed", end, None),
            None => {}
        }
        if let Some(lasting) = locks.network {
            self.add_row("login_locked", end, Some(("source", lasting)));
        }
        if let Some(lasting) = locks.account {
            self.add_row("login_locked", end, Some(("account", lasting)));
        }
    }

    fn add_row(&mut self, kind: &'static str, end: &'a End, lock: Option<(&'static str, Duration)>) {
        self.kinds.push(kind);
        self.users.push(end.user);
        self.emails.push(end.email.as_deref());
        self.networks.push(end.network.as_deref());
        self.scopes.push(lock.map(|(scope, _)| scope));
        self.seconds.push(lock.map(|(_, lasting)| whole_seconds(lasting)));
    }

    pub(super) fn parameters(&self) -> [Parameter<'_>; 6] {
        [
            (&self.kinds, Type::TEXT_ARRAY),
            (&self.users, Type::UUID_ARRAY),
            (&self.emails, Type::TEXT_ARRAY),
            (&self.networks, Type::TEXT_ARRAY),
            (&self.scopes, Type::TEXT_ARRAY),
            (&self.seconds, Type::INT8_ARRAY),
        ]
    }
}

/// Rounded up.
fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}
