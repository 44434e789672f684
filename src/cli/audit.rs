//! `rollcall audit`: the log of security events.

mod instant;
mod list;

use clap::Subcommand;
use time::OffsetDateTime;

use super::{CliError, confirm, demand_schema, print};
use crate::config::Config;
use crate::database::Database;
use crate::domain::timestamp::rfc3339_millis;
use crate::features::audit::chain::Head;
use crate::features::audit::store::log::{AuditError, AuditLog};
use instant::Instant;

/// What to do with the log.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum Wish {
    /// Check that no sealed event was changed, removed, inserted or moved
    Verify {
        /// Also check that the log still holds what was anchored: SEQUENCE:HASH as `audit head` printed it
        #[arg(long, value_name = "SEQUENCE:HASH")]
        head: Option<Head>,
    },
    /// Print the place and hash of the last sealed event, to be anchored where this database's owners can't write
    Head,
    /// Print sealed events in their order
    List(list::Wishes),
    /// Verify the log, then remove old events so that the rest can still be verified
    Prune {
        /// Remove what happened before: 2026-01-31, 2026-01-31T12:00:00Z, or how long ago, such as 90d
        #[arg(long, value_name = "TIME")]
        before: Instant,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Does it.
pub(super) async fn run(config: &Config, wish: &Wish) -> Result<(), CliError> {
    let database = Database::open(&config.database, &config.data_dir).await?;
    let done = grant(config, &database, wish).await;
    database.close().await;
    done
}

async fn grant(config: &Config, database: &Database, wish: &Wish) -> Result<(), CliError> {
    demand_schema(database).await?;
    let log = AuditLog::new(database.pool.clone(), config.database.timeout);
    match wish {
        Wish::Verify { head } => print(&verify(&log, *head).await?),
        Wish::Head => print(&log.ends().await?.head.to_string()),
        Wish::List(wishes) => list::run(&log, wishes).await,
        Wish::Prune { before, yes } => {
            let before = before.at(OffsetDateTime::now_utc());
            if !yes {
                confirm(&format!("Remove all events before {}, for good?", rfc3339_millis(before)))?;
            }
            print(&prune(&log, before).await?)
        }
    }
}

async fn verify(log: &AuditLog, anchor: Option<Head>) -> Result<String, AuditError> {
    let verified = log.verify(anchor).await?;
    let (start, head) = (verified.ends.start, verified.ends.head);
    let mut remarks = vec![format!("sealed events: {}", head.sequence - start.sequence), format!("head {head}")];
    if let Some(event) = verified.pruned_by {
        remarks.push(format!("those up to {} were pruned, as event {event} tells", start.sequence));
    }
    if let Some(anchor) = anchor {
        remarks.push(format!("event {} is the anchored one", anchor.sequence));
    }
    if verified.unsealed > 0 {
        remarks.push(format!("not sealed yet: {}", verified.unsealed));
    }
    Ok(format!("audit log: good ({})", remarks.join(", ")))
}

async fn prune(log: &AuditLog, before: OffsetDateTime) -> Result<String, AuditError> {
    // What was tampered with is evidence, and stays.
    log.verify(None).await?;
    let pruned = log.prune(before).await?;
    Ok(format!("removed events: {}; the log starts after {}", pruned.removed, pruned.start))
}
