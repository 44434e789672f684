//! The event of a pruning, which names the last removed event. Without it, a log with a removed start does not verify.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Event, Head};
use crate::domain::timestamp::rfc3339_millis;

/// The kind of these events.
pub const KIND: &str = "log_pruned";

/// The event's detail.
#[derive(Debug, Serialize, Deserialize)]
struct Detail {
    through: String,
    count: u64,
    before: String,
}

/// The detail of a pruning's event: it removed `count` events from before `before`, the last of which was `through`.
#[must_use]
pub fn detail(through: Head, count: u64, before: OffsetDateTime) -> String {
    let detail = Detail { through: through.to_string(), count, before: rfc3339_millis(before) };
    // Texts and a number always serialize.
    serde_json::to_string(&detail).unwrap_or_default()
}

/// The last removed event, where `event` is that of a pruning.
#[must_use]
pub fn through(event: &Event) -> Option<Head> {
    if event.kind != KIND {
        return None;
    }
    let detail: Detail = serde_json::from_str(&event.detail).ok()?;
    detail.through.parse().ok()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::Hash;
    use super::*;
    use crate::domain::moment::Moment;

    #[test]
    fn an_event_names_the_last_that_is_gone_and_others_name_none() {
        let gone = Head { sequence: 3, hash: Hash::from_bytes(&[0xab; 32]).unwrap() };
        let detail = detail(gone, 3, datetime!(2026-01-31 12:00 UTC));
        let hash = "ab".repeat(32);
        let expected = format!(r#"{{"through":"3:{hash}","count":3,"before":"2026-01-31T12:00:00.000Z"}}"#);
        assert_eq!(detail, expected);
        let (kind, at) = (KIND.to_owned(), Moment(0));
        let event = Event { id: 1, at, kind, user_id: None, email: None, source: None, detail };
        assert_eq!(through(&event), Some(gone));
        let kind = "login_failed".to_owned();
        assert_eq!(through(&Event { kind, ..event.clone() }), None);
        for detail in ["{}", "null", "3", &expected.replace(&hash, ""), &expected.replace("3:", "x:")] {
            let detail = detail.to_owned();
            assert_eq!(through(&Event { detail, ..event.clone() }), None);
        }
    }
}
