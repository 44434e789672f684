//! Request bodies: read within a limit and a time, parsed into fields, wiped afterwards.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use thiserror::Error;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::domain::user::NotText;

/// How much of a body over the limit is read and thrown away before the refusal, in bodies of the size of the limit: a client
/// that is still sending would otherwise see a reset instead of the answer.
const DISCARDED_BODIES: usize = 16;

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

/// The fields of a JSON object, with strings that are wiped.
#[derive(Default)]
pub struct Fields(BTreeMap<String, Value>);

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
    /// Parses a JSON object in which no object has a key twice.
    ///
    /// # Errors
    /// [`BodyError::NotJson`], [`BodyError::NotAnObject`], [`BodyError::DuplicateKey`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        let has_duplicate = Cell::new(false);
        let mut input = serde_json::Deserializer::from_slice(bytes);
        let parsed = Parser(&has_duplicate).deserialize(&mut input).and_then(|value| input.end().map(|()| value));
        match parsed {
            Ok(Value::Object(fields)) => Ok(fields),
            Ok(_) => Err(BodyError::NotAnObject),
            Err(_) if has_duplicate.get() => Err(BodyError::DuplicateKey),
            Err(_) => Err(BodyError::NotJson),
        }
    }

    /// Takes the string of `key` out.
    ///
    /// # Errors
    /// [`NotText`] where there is none.
    pub fn take(&mut self, key: &str) -> Result<Zeroizing<String>, NotText> {
        match self.0.remove(key).ok_or(NotText::Missing)? {
            Value::Text(text) => Ok(text),
            Value::Null => Err(NotText::Missing),
            Value::Object(_) | Value::Other => Err(NotText::OtherType),
        }
    }
}

/// Reads any JSON value, and remembers where an object has a key twice, which `serde_json` itself lets pass.
#[derive(Clone, Copy)]
struct Parser<'a>(&'a Cell<bool>);

impl<'de> DeserializeSeed<'de> for Parser<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Parser<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(Zeroizing::new(text)))
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
        while items.next_element_seed(self)?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = entries.next_key::<String>()? {
            let Entry::Vacant(slot) = fields.0.entry(key) else {
                self.0.set(true);
                return Err(A::Error::custom("duplicate key"));
            };
            slot.insert(entries.next_value_seed(self)?);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_taken_out_and_other_types_told_apart() {
        let mut fields = Fields::parse(br#"{"a": "x\u00e9", "n": null, "i": 1, "o": {"a": 1}, "l": []}"#).unwrap();
        assert_eq!(fields.take("a").map(|text| text.to_string()).as_deref(), Ok("xé"));
        assert_eq!(fields.take("n"), Err(NotText::Missing));
        assert_eq!(fields.take("z"), Err(NotText::Missing));
        for key in ["i", "o", "l"] {
            assert_eq!(fields.take(key), Err(NotText::OtherType), "{key}");
        }
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
