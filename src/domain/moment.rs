//! Times as PostgreSQL keeps them.

use std::fmt;

use time::OffsetDateTime;

/// Nanoseconds from the Unix epoch to PostgreSQL's.
const EPOCH: i128 = 946_684_800_000_000_000;

/// A time as PostgreSQL keeps it: microseconds since 2000-01-01T00:00:00Z. It holds every value of a row, including
/// those outside the range of the time crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i128::from(self.0) * 1000 + EPOCH;
        let Ok(time) = OffsetDateTime::from_unix_timestamp_nanos(nanos) else {
            return write!(f, "{} µs after 2000-01-01T00:00:00Z", self.0);
        };
        let (date, hour, minute, second) = (time.date(), time.hour(), time.minute(), time.second());
        write!(f, "{date}T{hour:02}:{minute:02}:{second:02}.{:06}Z", time.microsecond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_can_be_printed() {
        assert_eq!(Moment(0).to_string(), "2000-01-01T00:00:00.000000Z");
        assert_eq!(Moment(-1).to_string(), "1999-12-31T23:59:59.999999Z");
        assert!(Moment(i64::MAX).to_string().ends_with("after 2000-01-01T00:00:00Z"));
    }
}
