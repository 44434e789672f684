//! Instants as clients see them.

use time::OffsetDateTime;

/// Writes `instant` as RFC 3339 in UTC with milliseconds and `Z`: `2025-10-15T12:34:56.789Z`. Finer digits are cut off.
#[must_use]
pub fn rfc3339_millis(instant: OffsetDateTime) -> String {
    let utc = instant.to_offset(time::UtcOffset::UTC);
    let (hour, minute, second, milli) = utc.time().as_hms_milli();
    let (year, month, day) = (utc.year(), u8::from(utc.month()), utc.day());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::rfc3339_millis;

    #[test]
    fn an_instant_is_written_in_utc_with_milliseconds() {
        assert_eq!(rfc3339_millis(datetime!(2025-10-15 14:34:56.789_999 +2)), "2025-10-15T12:34:56.789Z");
        assert_eq!(rfc3339_millis(datetime!(2025-01-02 03:04:05 UTC)), "2025-01-02T03:04:05.000Z");
    }
}
