//! Instants as text, for clients and logs.

use time::{OffsetDateTime, UtcOffset};

/// Writes `instant` as RFC 3339 in UTC with milliseconds and `Z`: `2025-10-15T12:34:56.789Z`. Finer digits are cut off.
#[must_use]
pub fn rfc3339_millis(instant: OffsetDateTime) -> String {
    rfc3339(instant, &digits::<3>(instant.millisecond().into()))
}

/// Writes `instant` as [`rfc3339_millis`] does, with microseconds.
#[must_use]
pub fn rfc3339_micros(instant: OffsetDateTime) -> String {
    rfc3339(instant, &digits::<6>(instant.microsecond()))
}

/// Digit by digit: each request writes two of these, and formatting them costs ten times as much.
fn rfc3339(instant: OffsetDateTime, fraction: &[u8]) -> String {
    let utc = instant.to_offset(UtcOffset::UTC);
    let [y0, y1, y2, y3] = digits::<4>(utc.year().unsigned_abs());
    let (hour, minute, second) = utc.time().as_hms();
    let [[o0, o1], [d0, d1], [h0, h1], [m0, m1], [s0, s1]] =
        [u8::from(utc.month()), utc.day(), hour, minute, second].map(|number| digits::<2>(number.into()));
    let whole = [y0, y1, y2, y3, b'-', o0, o1, b'-', d0, d1, b'T', h0, h1, b':', m0, m1, b':', s0, s1, b'.'];
    String::from_utf8([&whole, fraction, b"Z"].concat()).unwrap_or_default()
}

/// The last digits of `number`, zeros before it.
fn digits<const N: usize>(mut number: u32) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::{rfc3339_micros, rfc3339_millis};

    #[test]
    fn an_instant_is_written_in_utc_with_milliseconds() {
        assert_eq!(rfc3339_millis(datetime!(2025-10-15 14:34:56.789_999 +2)), "2025-10-15T12:34:56.789Z");
        assert_eq!(rfc3339_millis(datetime!(2025-01-02 03:04:05 UTC)), "2025-01-02T03:04:05.000Z");
        assert_eq!(rfc3339_millis(datetime!(2025-12-31 23:30 -1)), "2026-01-01T00:30:00.000Z");
    }

    #[test]
    fn or_with_microseconds() {
        assert_eq!(rfc3339_micros(datetime!(2025-01-02 03:04:05.000_678_9 UTC)), "2025-01-02T03:04:05.000678Z");
    }
}
