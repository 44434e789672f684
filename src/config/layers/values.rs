//! The value of a key, read as its type. Each reader records what the key accepts, for the reference of keys.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use toml::Value;

use super::Layers;
use crate::config::ConfigError;

/// Longest timeout in milliseconds: a day.
const MILLIS_MAX: u64 = 86_400_000;
/// The value of an optional address that is not used.
const OFF: &str = "off";
/// The units that the names of keys end in.
const UNITS: [(&str, &str); 3] = [("_ms", "milliseconds"), ("_s", "seconds"), ("_bytes", "bytes")];

impl Layers {
    /// The string at `key`.
    pub(in crate::config) fn text(&self, key: &str) -> Result<&str, ConfigError> {
        self.record(key, "text");
        self.string(key)
    }

    /// The string at `key`, where it is not empty.
    pub(in crate::config) fn secret(&self, key: &str) -> Result<Option<SecretString>, ConfigError> {
        self.record(key, "text (secret)");
        self.string(key).map(|text| (!text.is_empty()).then(|| SecretString::from(text)))
    }

    /// The path at `key`, where it is not empty.
    pub(in crate::config) fn path(&self, key: &str) -> Result<Option<PathBuf>, ConfigError> {
        self.record(key, "path");
        self.string(key).map(|path| (!path.is_empty()).then(|| PathBuf::from(path)))
    }

    /// The address and port at `key`; `None` for `off`. An error shows `example`.
    pub(in crate::config) fn address(&self, key: &str, example: &str) -> Result<Option<SocketAddr>, ConfigError> {
        self.record(key, format!("ADDRESS:PORT, `{OFF}`"));
        match self.string(key)? {
            OFF => Ok(None),
            addr => addr
                .parse()
                .map(Some)
                .map_err(|_| self.refuse(key, format!("must be ADDRESS:PORT, such as {example}, or {OFF}"))),
        }
    }

    /// The choice that the word at `key` names; `choices` lists all words.
    pub(in crate::config) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<T, ConfigError> {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        self.record(key, format!("`{}`", words.join("`, `")));
        let given = self.string(key)?;
        choices.iter().find(|(word, _)| *word == given).map(|(_, choice)| *choice).ok_or_else(|| {
            let (last, others) = words.split_last().unwrap_or((&"", &[]));
            self.refuse(key, format!("must be {} or {last}", others.join(", ")))
        })
    }

    /// The items at `key`: of a list of strings, or of one string, which commas separate.
    pub(in crate::config) fn list(&self, key: &str) -> Result<Vec<&str>, ConfigError> {
        self.record(key, "list of texts");
        if let Some(items) = self.value(key).and_then(Value::as_array) {
            let texts = items.iter().map(|item| item.as_str().map(str::trim)).collect::<Option<_>>();
            return texts.ok_or_else(|| self.refuse(key, "must be a list of strings, or \"a, b\"".to_owned()));
        }
        let items = self.string(key)?.split(',').map(str::trim);
        Ok(items.filter(|item| !item.is_empty()).collect())
    }

    /// The truth value at `key`.
    pub(in crate::config) fn switch(&self, key: &str) -> Result<bool, ConfigError> {
        self.record(key, "`true`, `false`");
        self.value(key).and_then(Value::as_bool).ok_or_else(|| self.refuse(key, "must be true or false".to_owned()))
    }

    /// The whole number at `key`, within `range`.
    pub(in crate::config) fn number<N>(&self, key: &str, range: RangeInclusive<N>) -> Result<N, ConfigError>
    where
        N: TryFrom<i64> + PartialOrd + Display,
    {
        let unit = UNITS.iter().find(|(suffix, _)| key.ends_with(suffix)).map(|(_, unit)| format!("{unit}, "));
        let (first, last) = (grouped(range.start()), grouped(range.end()));
        self.record(key, format!("{}{first} … {last}", unit.unwrap_or_default()));
        let number = self.value(key).and_then(Value::as_integer).and_then(|n| N::try_from(n).ok());
        number.filter(|n| range.contains(n)).ok_or_else(|| {
            self.refuse(key, format!("must be a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// The duration at `key`, given in milliseconds.
    pub(in crate::config) fn millis(&self, key: &str) -> Result<Duration, ConfigError> {
        self.number(key, 1..=MILLIS_MAX).map(Duration::from_millis)
    }

    /// What `key` accepts, in words; `None` until its value has been read.
    pub(in crate::config) fn accepted(&self, key: &str) -> Option<String> {
        self.accepted.borrow().get(key).cloned()
    }

    fn record(&self, key: &str, words: impl Into<String>) {
        self.accepted.borrow_mut().insert(key.to_owned(), words.into());
    }

    fn string(&self, key: &str) -> Result<&str, ConfigError> {
        self.value(key).and_then(Value::as_str).ok_or_else(|| self.refuse(key, "must be a string".to_owned()))
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key).map(|(value, _)| value)
    }
}

/// A number with commas between its thousands.
fn grouped(number: &impl Display) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_parted_by_commas() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (86_400_000, "86,400,000")] {
            assert_eq!(grouped(&number), text);
        }
    }
}
