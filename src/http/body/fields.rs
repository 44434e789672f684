//! The JSON of a body: which fields it has, and what is refused in it.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::BodyError;
use crate::domain::user::NotText;

/// How many values a body may have, at all depths together. A worker thread answers nobody else while it reads one, and reads
/// so many in less than 0.2 ms.
pub const MAX_VALUES: usize = 1000;

/// A field that some route reads. Others are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// `name`.
    Name,
    /// `email`.
    Email,
    /// `password`.
    Password,
}

impl Field {
    fn of(key: &str) -> Option<Self> {
        match key {
            "name" => Some(Self::Name),
            "email" => Some(Self::Email),
            "password" => Some(Self::Password),
            _ => None,
        }
    }
}

/// The fields of a JSON object, with strings that are wiped.
#[derive(Default)]
pub struct Fields(BTreeMap<Field, Value>);

enum Value {
    Text(Zeroizing<String>),
    Null,
    Object(Fields),
    Other,
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fields(…)")
    }
}

impl Fields {
    /// Parses a JSON object of at most [`MAX_VALUES`] values in which no object has a key twice.
    ///
    /// # Errors
    /// [`BodyError::NotJson`], [`BodyError::NotAnObject`], [`BodyError::DuplicateKey`], [`BodyError::TooManyValues`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        let rules = Rules { values_left: Cell::new(MAX_VALUES), broken: Cell::new(None) };
        let mut input = serde_json::Deserializer::from_slice(bytes);
        let parser = Parser { rules: &rules, wanted: Wanted::Fields };
        let parsed = parser.deserialize(&mut input).and_then(|value| input.end().map(|()| value));
        match parsed {
            Ok(Value::Object(fields)) => Ok(fields),
            Ok(_) => Err(BodyError::NotAnObject),
            Err(_) => Err(rules.broken.get().unwrap_or(BodyError::NotJson)),
        }
    }

    /// Takes the string of `field` out.
    ///
    /// # Errors
    /// [`NotText`] where there is none.
    pub fn take(&mut self, field: Field) -> Result<Zeroizing<String>, NotText> {
        match self.0.remove(&field).ok_or(NotText::Missing)? {
            Value::Text(text) => Ok(text),
            Value::Null => Err(NotText::Missing),
            Value::Object(_) | Value::Other => Err(NotText::OtherType),
        }
    }
}

/// What `serde_json` itself lets pass: how many values there may still be, and the first rule that was broken.
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

/// Reads any JSON value by the rules, and copies nothing but what is wanted.
#[derive(Clone, Copy)]
struct Parser<'a> {
    rules: &'a Rules,
    wanted: Wanted,
}

/// What is of use in a value.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    Fields,
    Text,
    Nothing,
}

/// A key as it stands in the body, unless it has escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Parser<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        self.rules.count()?;
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Parser<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(match self.wanted {
            Wanted::Text => Value::Text(Zeroizing::new(text.to_owned())),
            Wanted::Fields | Wanted::Nothing => Value::Other,
        })
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let item = Self { wanted: Wanted::Nothing, ..self };
        while items.next_element_seed(item)?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let (mut fields, mut keys) = (Fields::default(), Vec::new());
        while let Some(Key(key)) = entries.next_key()? {
            let field = Field::of(&key).filter(|_| self.wanted == Wanted::Fields);
            keys.push(key);
            let wanted = field.map_or(Wanted::Nothing, |_| Wanted::Text);
            let value = entries.next_value_seed(Self { wanted, ..self })?;
            if let Some(field) = field {
                fields.0.insert(field, value);
            }
        }
        // A hash set would cost three times as much, and hash a long key again each time it grows.
        keys.sort_unstable();
        if !keys.is_sorted_by(|one, next| one < next) {
            return Err(self.rules.refuse(BodyError::DuplicateKey));
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_taken_out_and_other_types_told_apart() {
        let mut fields = Fields::parse(br#"{"\u006eame": "x\u00e9", "email": null, "other": "text"}"#).unwrap();
        assert_eq!(fields.take(Field::Name).map(|text| text.to_string()).as_deref(), Ok("xé"));
        for field in [Field::Name, Field::Email, Field::Password] {
            assert_eq!(fields.take(field), Err(NotText::Missing), "{field:?}");
        }
        for value in ["1", "-1", "1.5", "true", "{}", "{\"name\": \"x\"}", "[]", "[\"x\"]"] {
            let mut fields = Fields::parse(format!("{{\"name\": {value}}}").as_bytes()).unwrap();
            assert_eq!(fields.take(Field::Name), Err(NotText::OtherType), "{value}");
        }
    }

    #[test]
    fn only_the_outermost_object_has_fields() {
        let mut fields = Fields::parse(br#"{"other": {"name": "x"}, "more": [{"name": "x"}]}"#).unwrap();
        assert_eq!(fields.take(Field::Name), Err(NotText::Missing));
    }

    #[test]
    fn values_are_counted_at_all_depths() {
        // The object, the array and its other items.
        let of = |values: usize| format!("{{\"a\": [{}{{}}]}}", "[],".repeat(values - 3));
        assert!(Fields::parse(of(MAX_VALUES).as_bytes()).is_ok());
        assert_eq!(Fields::parse(of(MAX_VALUES + 1).as_bytes()).err(), Some(BodyError::TooManyValues));
        let keys: Vec<_> = (0..MAX_VALUES).map(|n| format!("\"{n}\":0")).collect();
        let of = |keys: &[String]| format!("{{{}}}", keys.join(","));
        assert!(Fields::parse(of(&keys[1..]).as_bytes()).is_ok());
        assert_eq!(Fields::parse(of(&keys).as_bytes()).err(), Some(BodyError::TooManyValues));
    }

    #[test]
    fn a_key_may_come_once_at_every_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"b":2}}"#, r#"{"a":[{"b":1,"\u0062":2}]}"#] {
            assert_eq!(Fields::parse(text.as_bytes()).err(), Some(BodyError::DuplicateKey), "{text}");
        }
        assert!(Fields::parse(br#"{"a":{"b":1},"b":{"b":1}}"#).is_ok());
    }

    #[test]
    fn what_is_no_object_or_no_json_is_refused() {
        for text in ["null", "1", "\"a\"", "[]", "[{}]", "true"] {
            assert_eq!(Fields::parse(text.as_bytes()).err(), Some(BodyError::NotAnObject), "{text}");
        }
        let deep = "[".repeat(10_000);
        for text in ["", " ", "{", "{}x", "{a:1}", "{'a':1}", "\u{feff}{}", "{\"a\":\"\\ud800\"}", "{\"a\":1,}", &deep]
        {
            assert_eq!(Fields::parse(text.as_bytes()).err(), Some(BodyError::NotJson), "{text:.20}");
        }
        assert_eq!(Fields::parse(b"{\"a\":\"\xff\"}").err(), Some(BodyError::NotJson));
    }
}
