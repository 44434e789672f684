//! Rules for the JSON of every body: it is an object, no object in it has a key twice, and it has a bounded number of
//! values.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::BodyError;

/// How many values a body may have, at all depths together. A worker thread serves nobody else while it reads a body;
/// this many take less than 0.2 ms.
pub const MAX_VALUES: usize = 1000;

/// Checks that `bytes` are a JSON object of at most [`MAX_VALUES`] values in which no object has a key twice.
///
/// # Errors
/// [`BodyError::NotJson`], [`BodyError::NotAnObject`], [`BodyError::DuplicateKey`], [`BodyError::TooManyValues`].
pub fn check(bytes: &[u8]) -> Result<(), BodyError> {
    let rules = Rules { values_left: Cell::new(MAX_VALUES), broken: Cell::new(None) };
    let mut input = serde_json::Deserializer::from_slice(bytes);
    let kind = Value(&rules).deserialize(&mut input).and_then(|kind| input.end().map(|()| kind));
    match kind {
        Ok(Kind::Object) => Ok(()),
        Ok(Kind::Other) => Err(BodyError::NotAnObject),
        Err(_) => Err(rules.broken.get().unwrap_or(BodyError::NotJson)),
    }
}

/// How many more values are allowed, and the broken rule, for which `serde_json` has no error.
struct Rules {
    values_left: Cell<usize>,
    broken: Cell<Option<BodyError>>,
}

impl Rules {
    fn refuse<E: serde::de::Error>(&self, error: BodyError) -> E {
        self.broken.set(Some(error));
        E::custom(error)
    }

    fn count<E: serde::de::Error>(&self) -> Result<(), E> {
        let left = self.values_left.get().checked_sub(1).ok_or_else(|| self.refuse(BodyError::TooManyValues))?;
        self.values_left.set(left);
        Ok(())
    }
}

/// Reads any JSON value by the rules.
#[derive(Clone, Copy)]
struct Value<'a>(&'a Rules);

/// The kind of a value, as far as the rules distinguish it.
enum Kind {
    Object,
    Other,
}

/// A key, borrowed from the body unless it has escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Kind;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Kind, D::Error> {
        self.0.count()?;
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E>(self, _: &str) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(Kind::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Kind, A::Error> {
        let mut keys = Vec::new();
        while let Some(Key(key)) = entries.next_key()? {
            keys.push(key);
            entries.next_value_seed(self)?;
        }
        // A hash set would cost three times as much, and hash a long key again each time it grows.
        keys.sort_unstable();
        if !keys.is_sorted_by(|one, next| one < next) {
            return Err(self.0.refuse(BodyError::DuplicateKey));
        }
        Ok(Kind::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_at_all_depths() {
        // The object, the array and its other items.
        let of = |values: usize| format!("{{\"a\": [{}{{}}]}}", "[],".repeat(values - 3));
        assert!(check(of(MAX_VALUES).as_bytes()).is_ok());
        assert_eq!(check(of(MAX_VALUES + 1).as_bytes()), Err(BodyError::TooManyValues));
        let keys: Vec<_> = (0..MAX_VALUES).map(|n| format!("\"{n}\":0")).collect();
        let of = |keys: &[String]| format!("{{{}}}", keys.join(","));
        assert!(check(of(&keys[1..]).as_bytes()).is_ok());
        assert_eq!(check(of(&keys).as_bytes()), Err(BodyError::TooManyValues));
    }

    #[test]
    fn a_key_may_come_once_at_every_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"b":2}}"#, r#"{"a":[{"b":1,"\u0062":2}]}"#] {
            assert_eq!(check(text.as_bytes()), Err(BodyError::DuplicateKey), "{text}");
        }
        assert!(check(br#"{"a":{"b":1},"b":{"b":1}}"#).is_ok());
    }

    #[test]
    fn what_is_no_object_or_no_json_is_refused() {
        for text in ["null", "1", "\"a\"", "[]", "[{}]", "true"] {
            assert_eq!(check(text.as_bytes()), Err(BodyError::NotAnObject), "{text}");
        }
        let deep = "[".repeat(10_000);
        for text in ["", " ", "{", "{}x", "{a:1}", "{'a':1}", "\u{feff}{}", "{\"a\":\"\\ud800\"}", "{\"a\":1,}", &deep]
        {
            assert_eq!(check(text.as_bytes()), Err(BodyError::NotJson), "{text:.20}");
        }
        assert_eq!(check(b"{\"a\":\"\xff\"}"), Err(BodyError::NotJson));
    }
}
