//! Request bodies: read within a limit and a time, parsed into fields, wiped afterwards.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use thiserror::Error;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::domain::user::NotText;

/// How much of a body over the limit is read and thrown away before the refusal, in bodies of the size of the limit: a client
/// that is still sending would otherwise see a reset instead of the answer.
const DISCARDED_BODIES: usize = 16;

/// How many values a body may have, at all depths together. A worker thread answers nobody else while it reads one, and reads
/// so many in less than 0.2 ms.
pub const MAX_VALUES: usize = 1000;

/// Why a body can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BodyError {
    /// Not declared as JSON.
    #[error("the content type is not JSON")]
    NotJsonType,
    /// Over the limit.
    #[error("the body is too large")]
    TooLarge,
    /// Not there in time.
    #[error("the body came too slowly")]
    TooSlow,
    /// The connection broke, or the framing.
    #[error("the body is incomplete")]
    Incomplete,
    /// Not JSON, or not UTF-8, or nested too deeply.
    #[error("the body is not JSON")]
    NotJson,
    /// JSON, but no object.
    #[error("the body is not an object")]
    NotAnObject,
    /// An object in it has a key twice.
    #[error("the body has a key twice")]
    DuplicateKey,
    /// More than [`MAX_VALUES`] in it.
    #[error("the body has too many values")]
    TooManyValues,
}

/// Reads the body of a request and its top-level fields.
///
/// # Errors
/// Any [`BodyError`].
pub async fn read_fields<B>(
    headers: &HeaderMap,
    body: B,
    max_bytes: usize,
    patience: Duration,
) -> Result<Fields, BodyError>
where
    B: Body + Unpin,
{
    if !is_json(headers) {
        return Err(BodyError::NotJsonType);
    }
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let bytes =
        timeout(patience, collect(body, declared.unwrap_or(0), max_bytes)).await.map_err(|_| BodyError::TooSlow)??;
    Fields::parse(&bytes)
}

async fn collect<B>(mut body: B, declared: usize, max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, BodyError>
where
    B: Body + Unpin,
{
    // Room for all of it at once: growing would leave copies of passwords behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(declared.clamp(1024, max_bytes)));
    let mut received = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Incomplete)?.into_data() else { continue };
        let mut data = data;
        received = received.saturating_add(hyper::body::Buf::remaining(&data));
        if received > max_bytes.saturating_mul(DISCARDED_BODIES) {
            break;
        }
        while received <= max_bytes && hyper::body::Buf::has_remaining(&data) {
            let chunk = hyper::body::Buf::chunk(&data);
            bytes.extend_from_slice(chunk);
            let length = chunk.len();
            hyper::body::Buf::advance(&mut data, length);
        }
    }
    if received > max_bytes { Err(BodyError::TooLarge) } else { Ok(bytes) }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

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
