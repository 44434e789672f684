//! The fields of a body as a client gave them, so that one refusal lists all broken rules.

use std::fmt::{self, Display};

use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::Violation;

/// One field of a body as a client gave it. It always deserializes: a body's type has its fields as `Given`, each under
/// `#[serde(default)]`, and [`Broken`] collects what is wrong with them.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Given<T> {
    /// Nothing, or null.
    #[default]
    Missing,
    /// A value of another type.
    OtherType,
    /// A value of the type.
    Value(T),
}

/// A type that fields may have.
pub trait Shape: DeserializeOwned {
    /// The words for this type in a broken rule, after "must be ".
    const NOUN: &'static str;
}

impl Shape for String {
    const NOUN: &'static str = "a string";
}

impl Shape for Secret {
    const NOUN: &'static str = "a string";
}

impl Shape for bool {
    const NOUN: &'static str = "true or false";
}

impl Shape for u32 {
    const NOUN: &'static str = "a whole number";
}

impl<T: Shape> Shape for Vec<T> {
    const NOUN: &'static str = "a list";
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        // Borrowed from the body, which is wiped: only wanted values are copied.
        let text = <&RawValue>::deserialize(input)?.get();
        Ok(match text {
            "null" => Self::Missing,
            text => serde_json::from_str(text).map_or(Self::OtherType, Self::Value),
        })
    }
}

/// A string that is wiped when it is dropped, and never shown.
#[derive(PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The string.
    #[must_use]
    pub fn into_inner(self) -> Zeroizing<String> {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret(Zeroizing::new(text.to_owned())))
            }
        }
        input.deserialize_str(Text)
    }
}

/// The rules that a body breaks, each with its field, in the order in which they were found.
#[derive(Debug, Default)]
pub struct Broken(Vec<Violation>);

impl Broken {
    /// The value of `field`. Where it is missing or of another type, adds a broken rule and returns `None`.
    pub fn required<T: Shape>(&mut self, field: &'static str, given: Given<T>) -> Option<T> {
        match given {
            Given::Value(value) => return Some(value),
            Given::Missing => self.0.push(Violation::new(field, "is required")),
            Given::OtherType => self.0.push(Violation::new(field, format_args!("must be {}", T::NOUN))),
        }
        None
    }

    /// The value of `field`, parsed. Where `parse` refuses it, adds a broken rule for each error and returns `None`.
    pub fn parsed<T: Shape, U, E: Display>(
        &mut self,
        field: &'static str,
        given: Given<T>,
        parse: impl FnOnce(T) -> Result<U, Vec<E>>,
    ) -> Option<U> {
        let parsed = parse(self.required(field, given)?);
        let refuse = |errors: Vec<E>| self.0.extend(errors.into_iter().map(|error| Violation::new(field, error)));
        parsed.map_err(refuse).ok()
    }
}

impl From<Broken> for Vec<Violation> {
    fn from(Broken(violations): Broken) -> Self {
        violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Body {
        name: Given<String>,
        secret: Given<Secret>,
        flag: Given<bool>,
        list: Given<Vec<String>>,
        inner: Given<Inner>,
    }

    #[derive(Debug, Deserialize, PartialEq, Default)]
    #[serde(default)]
    struct Inner {
        name: Given<String>,
    }

    fn parse(text: &str) -> Body {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn values_of_every_type_are_read_and_others_told_apart() {
        let body = parse(r#"{"\u006eame": "x\u00e9", "flag": true, "list": ["a"], "inner": {"name": 1}, "other": []}"#);
        assert_eq!(body.name, Given::Value("xé".to_owned()));
        assert_eq!((body.secret, body.flag), (Given::Missing, Given::Value(true)));
        assert_eq!(body.list, Given::Value(vec!["a".to_owned()]));
        assert_eq!(body.inner, Given::Value(Inner { name: Given::OtherType }), "at every depth");
        for value in ["1", "-1", "1.5", "true", "{}", "{\"name\": \"x\"}", "[]", "[\"x\"]"] {
            assert_eq!(parse(&format!("{{\"name\": {value}}}")).name, Given::OtherType, "{value}");
            assert_eq!(parse(&format!("{{\"secret\": {value}}}")).secret, Given::OtherType, "{value}");
        }
        assert_eq!(parse(r#"{"name": null}"#).name, Given::Missing);
        assert_eq!(parse(r#"{"list": ["a", 1]}"#).list, Given::OtherType);
    }

    #[test]
    fn all_broken_rules_are_listed_in_order() {
        let mut broken = Broken::default();
        assert_eq!(broken.required("a", Given::<String>::Missing), None);
        assert_eq!(broken.required("b", Given::<bool>::OtherType), None);
        assert_eq!(broken.parsed("c", Given::Value(7), |n: u32| Ok::<_, Vec<&str>>(n + 1)), Some(8));
        assert_eq!(broken.parsed("d", Given::Value(7), |_: u32| Err::<u32, _>(vec!["is odd", "is prime"])), None);
        let listed: Vec<_> = broken.0.iter().map(|v| (v.field, v.message.as_str())).collect();
        assert_eq!(listed, [("a", "is required"), ("b", "must be true or false"), ("d", "is odd"), ("d", "is prime")]);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let body = parse(r#"{"secret": "hidden"}"#);
        assert_eq!(format!("{:?}", body.secret), "Value(Secret(…))");
        let Given::Value(secret) = body.secret else { panic!("no secret") };
        assert_eq!(secret.into_inner().as_str(), "hidden");
    }
}
