//! `rollcall audit list`: sealed events, and with `--follow` those to come.

use std::borrow::Cow;
use std::io::{ErrorKind, Write, stdout};
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::CommandError;
use super::instant::Instant;
use crate::features::audit::chain::{Sealed, printable};
use crate::features::audit::store::log::{AuditError, AuditLog, Filter};
use crate::features::event_kinds;
use crate::terminal::TerminalError;

/// Events that are read at once.
const PAGE: i64 = 1_000;
/// Pause between two reads of new events.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);

/// What to print.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Go on with each event that is sealed, until SIGINT
    #[arg(long)]
    follow: bool,
    /// Only what happened since: 2026-01-31, 2026-01-31T12:00:00Z, or how long ago, such as 90s, 15m, 2h or 7d
    #[arg(long, value_name = "TIME")]
    since: Option<Instant>,
    /// Only events of this kind; may be given several times
    #[arg(long, value_parser = PossibleValuesParser::new(event_kinds()))]
    kind: Vec<String>,
    /// Only events of this user
    #[arg(long, value_name = "USER_ID", value_parser = user_id)]
    user: Option<Uuid>,
    /// Print a JSON object for each event instead of text
    #[arg(long)]
    json: bool,
}

fn user_id(text: &str) -> Result<Uuid, &'static str> {
    text.parse().map_err(|_| "must be a user id (a UUID)")
}

/// Whether the output still has a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Listens,
    Left,
}

pub(super) async fn run(log: &AuditLog, arguments: &Arguments) -> Result<(), CommandError> {
    let mut list = List::new(log, arguments);
    if !arguments.follow {
        return list.advance().await.map(|_| ());
    }
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(CommandError::Signal),
        done = list.follow() => done,
    }
}

struct List<'a> {
    log: &'a AuditLog,
    filter: Filter,
    json: bool,
    /// The last place that was read.
    after: i64,
}

impl<'a> List<'a> {
    fn new(log: &'a AuditLog, arguments: &Arguments) -> Self {
        let since = arguments.since.map(|since| since.at(OffsetDateTime::now_utc()));
        let filter = Filter { since, kinds: arguments.kind.clone(), user: arguments.user };
        Self { log, filter, json: arguments.json, after: 0 }
    }

    /// Prints all sealed events, then each that follows. A first failure ends it; later outages are waited out.
    async fn follow(&mut self) -> Result<(), CommandError> {
        let mut reader = self.advance().await?;
        let mut rounds = tokio::time::interval(FOLLOW_EVERY);
        while reader == Reader::Listens {
            rounds.tick().await;
            reader = match self.advance().await {
                Err(CommandError::Audit(AuditError::Unreadable(cause))) => {
                    tracing::warn!(cause = cause.to_string(), "the audit log cannot be read for now");
                    Reader::Listens
                }
                other => other?,
            };
            if is_closed()? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Prints all that was sealed since the last call.
    async fn advance(&mut self) -> Result<Reader, CommandError> {
        let last = self.log.ends().await?.head.sequence;
        while self.after < last {
            let page = self.log.page(&self.filter, self.after, last, PAGE).await?;
            let lines: String = page.iter().map(|sealed| self.line(sealed) + "\n").collect();
            if write(&lines)? == Reader::Left {
                return Ok(Reader::Left);
            }
            let is_last = page.len() < usize::try_from(PAGE).unwrap_or_default();
            self.after = page.last().filter(|_| !is_last).map_or(last, |sealed| sealed.sequence);
        }
        Ok(Reader::Listens)
    }

    fn line(&self, sealed: &Sealed) -> String {
        if self.json { as_json(sealed).to_string() } else { as_text(sealed) }
    }
}

fn as_json(Sealed { event, sequence, hash }: &Sealed) -> Value {
    let detail = serde_json::from_str(&event.detail).unwrap_or(Value::Null);
    json!({
        "sequence": sequence,
        "eventId": event.id,
        "happenedAt": event.at.to_string(),
        "kind": event.kind,
        "userId": event.user_id,
        "email": event.email,
        "source": event.source,
        "detail": detail,
        "hash": hash.map(|hash| hash.to_string()),
    })
}

fn as_text(Sealed { event, sequence, .. }: &Sealed) -> String {
    let mut line = format!("{sequence:>8}  {}  {:<15}", event.at, event.kind);
    let user_id = event.user_id.map(|id| id.to_string());
    for (name, value) in [("user", &user_id), ("email", &event.email), ("source", &event.source)] {
        if let Some(value) = value {
            line += "  ";
            line += name;
            line += "=";
            line += &quoted(value);
        }
    }
    if event.detail != "{}" {
        line += "  ";
        line += &event.detail;
    }
    printable(line.trim_end())
}

/// A value as it is, or in quotation marks where it could be read as several fields.
fn quoted(value: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !c.is_whitespace() && !matches!(c, '=' | '"' | '\\');
    if value.chars().all(is_plain) { Cow::Borrowed(value) } else { Cow::Owned(format!("{value:?}")) }
}

fn write(lines: &str) -> Result<Reader, CommandError> {
    let mut out = stdout().lock();
    match out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::Listens),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Left),
        Err(error) => Err(TerminalError::Output(error).into()),
    }
}

/// Whether standard output is a pipe without a reader, which would otherwise show only at the next event.
fn is_closed() -> Result<bool, CommandError> {
    let out = stdout();
    let mut fds = [PollFd::new(&out, PollFlags::empty())];
    match poll(&mut fds, Some(&Timespec::default())) {
        Ok(_) => Ok(fds.iter().any(|fd| fd.revents().intersects(PollFlags::ERR | PollFlags::HUP))),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(TerminalError::Output(error.into()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_passes_for_another_field() {
        assert_eq!(quoted("ann@example.com"), "ann@example.com");
        assert_eq!(quoted("root@x  source=10.0.0.1"), "\"root@x  source=10.0.0.1\"");
        assert_eq!(quoted("a\"b"), "\"a\\\"b\"");
    }
}
