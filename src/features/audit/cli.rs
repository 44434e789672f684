//! `rollcall audit`: the log of security events.

mod instant;
mod list;

use clap::Subcommand;
use time::OffsetDateTime;

use super::chain::Head;
use super::store::log::{AuditError, AuditLog};
use crate::config::Config;
use crate::database::{Database, DatabaseError};
use crate::domain::timestamp::rfc3339_millis;
use crate::features::with_database;
use crate::terminal::{TerminalError, confirm, print};
use instant::Instant;

/// What to do with the log.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Check that no sealed event was changed, removed, inserted or moved
    Verify {
        /// Also check that the log still holds what was anchored: SEQUENCE:HASH as `audit head` printed it
        #[arg(long, value_name = "SEQUENCE:HASH")]
        head: Option<Head>,
    },
    /// Print the place and hash of the last sealed event, to be anchored where this database's owners can't write
    Head,
    /// Print sealed events in their order
    List(list::Arguments),
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

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The database is not there, or not up to date.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The log cannot be read, or does not hold.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Nothing can be printed or asked.
    #[error(transparent)]
    Terminal(#[from] TerminalError),
    /// SIGINT cannot be waited for.
    #[error("signals cannot be received: {0}")]
    Signal(std::io::Error),
}

/// Runs the command.
///
/// # Errors
/// [`CommandError`].
pub(crate) async fn run(config: &Config, command: &Command) -> Result<(), CommandError> {
    with_database(config, async |database| execute(config, database, command).await).await
}

async fn execute(config: &Config, database: &Database, command: &Command) -> Result<(), CommandError> {
    let log = AuditLog::new(database.pool.clone(), config.database.timeout);
    match command {
        Command::Verify { head } => Ok(print(&verify(&log, *head).await?)?),
        Command::Head => Ok(print(&log.ends().await?.head.to_string())?),
        Command::List(arguments) => list::run(&log, arguments).await,
        Command::Prune { before, yes } => {
            let before = before.at(OffsetDateTime::now_utc());
            if !yes {
                confirm(&format!("Remove all events before {}, for good?", rfc3339_millis(before)))?;
            }
            Ok(print(&prune(&log, before).await?)?)
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
    // A log that was tampered with is evidence, and stays.
    log.verify(None).await?;
    let pruned = log.prune(before).await?;
    Ok(format!("removed events: {}; the log starts after {}", pruned.removed, pruned.start))
}
