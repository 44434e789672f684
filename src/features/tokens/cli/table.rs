//! The keys, for people and for programs.

use serde::Serialize;

use crate::domain::timestamp::rfc3339_millis;
use crate::features::tokens::store::Snapshot;

/// Titles of the columns.
const TITLES: [&str; 7] = ["kid", "algorithm", "state", "signs", "active from", "retired at", "expires at"];

/// A key, as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    /// `None` for the secret.
    kid: Option<String>,
    algorithm: &'static str,
    state: &'static str,
    signs: bool,
    created_at: Option<String>,
    active_from: Option<String>,
    retired_at: Option<String>,
    expires_at: Option<String>,
}

/// All keys, the secret of the configuration first.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    keys: Vec<Row>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unsound: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resealed: Option<Vec<String>>,
}

impl Table {
    /// The keys of `snapshot`. `signer` signs; `None` where the secret does. `resealed` were just encrypted again.
    pub(super) fn new(
        snapshot: &Snapshot,
        accept_secret: bool,
        signer: Option<&str>,
        resealed: Option<Vec<String>>,
    ) -> Self {
        let secret = Row {
            kid: None,
            algorithm: "HS256",
            state: if accept_secret { "active" } else { "refused" },
            signs: accept_secret && signer.is_none(),
            created_at: None,
            active_from: None,
            retired_at: None,
            expires_at: None,
        };
        let stored = snapshot.keys.iter().map(|key| Row {
            kid: Some(key.kid().to_owned()),
            algorithm: key.algorithm.name(),
            state: key.state(snapshot.now).name(),
            signs: signer == Some(key.kid()),
            created_at: Some(rfc3339_millis(key.created_at)),
            active_from: Some(rfc3339_millis(key.active_from)),
            retired_at: key.retired_at.map(rfc3339_millis),
            expires_at: key.expires_at.map(rfc3339_millis),
        });
        Self { keys: std::iter::once(secret).chain(stored).collect(), unsound: snapshot.unsound.clone(), resealed }
    }

    /// As JSON.
    pub(super) fn json(&self) -> String {
        // Strings and truth values always serialize.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// As a table, its columns as wide as they need to be.
    pub(super) fn text(&self) -> String {
        let titles = TITLES.map(str::to_owned);
        let lines: Vec<_> = std::iter::once(titles).chain(self.keys.iter().map(cells)).collect();
        let mut widths = [0; TITLES.len()];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.len().max(*width);
            }
        }
        let write = |line: &[String; TITLES.len()]| {
            let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let mut lines: Vec<_> = lines.iter().map(write).collect();
        lines.extend(self.unsound.iter().map(|kid| format!("{kid}  is out of form, and not used")));
        lines.extend(self.resealed.as_ref().map(|kids| match kids.as_slice() {
            [] => "all are encrypted under tokens.encryption_key already".to_owned(),
            kids => format!("encrypted under tokens.encryption_key now: {}", kids.join(", ")),
        }));
        lines.join("\n")
    }
}

fn cells(row: &Row) -> [String; TITLES.len()] {
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    [
        row.kid.clone().unwrap_or_else(|| "tokens.secret".to_owned()),
        row.algorithm.to_owned(),
        row.state.to_owned(),
        if row.signs { "yes" } else { "-" }.to_owned(),
        shown(&row.active_from),
        shown(&row.retired_at),
        shown(&row.expires_at),
    ]
}
