//! `rollcall check`: checks whether the service would start, and measures its capacity.

use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::CliError;
use crate::app::{AppError, listeners, secret};
use crate::config::Config;
use crate::config::https::Source;
use crate::crypto::pseudonym::Pseudonyms;
use crate::database::migrations::MigrationError;
use crate::database::{Database, DatabaseError, local};
use crate::domain::timestamp::rfc3339_millis;
use crate::features::{self, Checked, passwords, schema};
use crate::hashing::Salt;
use crate::hashing::engine::{Engines, Job};
use crate::http::limits::metrics::LimitMetrics;
use crate::http::limits::shared::Shared;
use crate::http::tls;
use crate::telemetry::Registry;
use crate::terminal::print;

/// How long the capacity is measured.
const MEASURE: Duration = Duration::from_secs(2);

/// Checks each part in the order of a start, and prints the result.
pub(super) async fn run(config: &Config) -> Result<(), CliError> {
    print("configuration: good")?;
    if let Some(Source::Files(files)) = &config.server.https.certificate {
        let until = tls::check(files).map_err(AppError::from)?;
        print(&format!("certificate: good (until {})", rfc3339_millis(until)))?;
    }
    secret::check(config).map_err(AppError::from)?;
    let registry = Registry::new()?;
    if config.database.url.is_none() && !local::exists(&config.data_dir) {
        local::check_new(&config.data_dir).map_err(DatabaseError::from)?;
        print(&format!("database: good (serve makes a private cluster in {})", config.data_dir.display()))?;
    } else {
        let database = Database::open(&config.database, &config.data_dir).await?;
        let checked = check_database(&database).await;
        let features = check_features(config, &database, &registry).await;
        database.close().await;
        print(&checked?)?;
        for line in features? {
            print(&line)?;
        }
    }
    if let Some(url) = config.limits.rates.redis_url.as_ref().filter(|_| config.limits.enabled) {
        let pseudonyms = Arc::new(Pseudonyms::new(&[], config.audit.emails, config.audit.addresses));
        let shared = Shared::new(
            url,
            config.limits.rates.redis_timeout,
            pseudonyms,
            Arc::new(LimitMetrics::register(&registry)?),
        );
        shared.map_err(AppError::from)?.check().await.map_err(AppError::from)?;
        print("redis: good")?;
    }
    let engines = Engines::start(&config.hashing, passwords::engine_panics(&registry)?).map_err(AppError::from)?;
    print("hash kernel: good")?;
    let rate = capacity(&engines, config).await;
    let (engines, lanes, cost) = (config.hashing.engines, engines.lanes(), config.hashing.cost.log_rounds());
    print(&format!("hash capacity: {rate:.1} hashes/s at cost {cost}, {lanes} at once on {engines} engines"))?;
    // Last, because beside a running service they are taken, and the other lines are of use then, too.
    listeners::check(config).await?;
    Ok(print("listeners: good (their addresses are free)")?)
}

async fn check_database(database: &Database) -> Result<String, DatabaseError> {
    let place = if database.is_private() { "private cluster" } else { "database.url" };
    let schema = schema();
    let (found, latest) = (schema.version(&database.pool).await?, schema.latest());
    let mut remarks = vec![place.to_owned(), format!("schema version {found}")];
    if database.is_read_only().await? {
        remarks.push("it takes no writes: registrations would get 503".to_owned());
    } else if found != latest {
        schema.rehearse(&database.pool).await?;
        remarks.push(format!("serve and migrate bring it to {latest}, as was tried and taken back"));
    }
    Ok(format!("database: good ({})", remarks.join(", ")))
}

/// The lines of all features.
async fn check_features(config: &Config, database: &Database, registry: &Registry) -> Result<Vec<String>, CliError> {
    let secret = secret::preview(config, database.is_private()).map_err(AppError::from)?;
    let outdated = matches!(schema().demand(&database.pool).await, Err(MigrationError::TooOld { .. }));
    let mut lines = Vec::new();
    for check in features::checks() {
        let answer = if outdated {
            "not looked at before the schema is up to date".to_owned()
        } else {
            let checked = Checked { config, pool: &database.pool, secret: &secret, registry };
            (check.run)(checked).await.map_err(CliError::Check)?
        };
        lines.push(format!("{}: {answer}", check.name));
    }
    Ok(lines)
}

/// Measures hashes per second with every engine busy.
async fn capacity(engines: &Engines, config: &Config) -> f64 {
    let started = Instant::now();
    let job = || {
        let password = Zeroizing::new("measured".to_owned());
        let cost = config.hashing.cost;
        engines.submit(Job { password, salt: Salt::default(), cost, pad_to: cost })
    };
    let mut waiting: std::collections::VecDeque<_> = (0..2 * engines.lanes()).map(|_| job()).collect();
    let mut done = 0_u32;
    while let Some(next) = waiting.pop_front() {
        let _ = next.await;
        done += 1;
        if started.elapsed() < MEASURE {
            waiting.push_back(job());
        }
    }
    f64::from(done) / started.elapsed().as_secs_f64()
}
