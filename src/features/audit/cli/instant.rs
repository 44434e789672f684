//! Points in time as people write them on a command line.
//!
//! The ages are read here: humantime also takes `1w` and `1month`, which the command line refuses, and jiff would add
//! six crates.

use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use time::format_description::well_known::{Iso8601, Rfc3339};
use time::{Date, OffsetDateTime, Time};

/// A point in time, or how long before now it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instant {
    At(OffsetDateTime),
    Ago(Duration),
}

/// A text that is neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "it must be a date (2026-01-31), a time (2026-01-31T12:00:00Z), or how long ago: a whole number with s, m, h or d"
)]
pub(crate) struct NotAnInstant;

impl Instant {
    /// The point in time, seen from `now`; 1970 where it would be before the calendar begins.
    pub(super) fn at(self, now: OffsetDateTime) -> OffsetDateTime {
        match self {
            Self::At(time) => time,
            Self::Ago(duration) => {
                let duration = time::Duration::try_from(duration).unwrap_or(time::Duration::MAX);
                now.checked_sub(duration).unwrap_or(OffsetDateTime::UNIX_EPOCH)
            }
        }
    }
}

impl FromStr for Instant {
    type Err = NotAnInstant;

    fn from_str(text: &str) -> Result<Self, NotAnInstant> {
        if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
            return Ok(Self::At(time));
        }
        if let Some(date) = Date::parse(text, &Iso8601::DATE).ok().filter(|_| text.contains('-')) {
            return Ok(Self::At(date.with_time(Time::MIDNIGHT).assume_utc()));
        }
        let unit = text.chars().last().ok_or(NotAnInstant)?;
        let seconds: u64 = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(NotAnInstant),
        };
        let count = text.strip_suffix(unit).filter(|digits| digits.bytes().all(|c| c.is_ascii_digit()));
        let count: u64 = count.and_then(|digits| digits.parse().ok()).ok_or(NotAnInstant)?;
        count.checked_mul(seconds).map(|seconds| Self::Ago(Duration::from_secs(seconds))).ok_or(NotAnInstant)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn dates_times_and_ages_are_understood_and_nothing_else_is() {
        let now = datetime!(2026-02-01 00:00 UTC);
        for (text, at) in [
            ("2026-01-31", datetime!(2026-01-31 00:00 UTC)),
            ("2026-01-31T12:00:00Z", datetime!(2026-01-31 12:00 UTC)),
            ("2026-01-31T12:00:00.5+02:00", datetime!(2026-01-31 10:00:00.5 UTC)),
            ("90s", datetime!(2026-01-31 23:58:30 UTC)),
            ("15m", datetime!(2026-01-31 23:45 UTC)),
            ("2h", datetime!(2026-01-31 22:00 UTC)),
            ("1d", datetime!(2026-01-31 00:00 UTC)),
            ("99999999999999d", OffsetDateTime::UNIX_EPOCH),
        ] {
            assert_eq!(text.parse::<Instant>().unwrap().at(now), at, "{text}");
        }
        for text in ["", "d", "1", "1w", "-1d", "+1d", "1.5h", "yesterday", "20260131", "2026-13-01", "1é"] {
            assert_eq!(text.parse::<Instant>(), Err(NotAnInstant), "{text}");
        }
    }
}
