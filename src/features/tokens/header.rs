//! The header of a token: the members that are read, and those that are refused.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// The key that a token asks to be checked with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// The algorithm, to the letter.
    pub(super) alg: String,
    /// The key's name; the secret has none.
    pub(super) kid: Option<String>,
}

/// Members of the header. Those that carry a key or its URL (`jwk`, `jku`, `x5c`, `x5u`) are ignored. A duplicate of a
/// member here is an error.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

fn is_there<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

/// Reads the choice in an encoded header; `None` where it is malformed, or has a critical extension.
pub(super) fn read(encoded: &str) -> Option<Chosen> {
    let json = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    let members: Members<'_> = serde_json::from_slice(&json).ok()?;
    // What `crit` lists must be understood, and no extension is (RFC 7515, section 4.1.11).
    if members.crit {
        return None;
    }
    Some(Chosen { alg: members.alg.into_owned(), kid: members.kid.map(Cow::into_owned) })
}

/// Encodes a header as tokens have it.
pub(super) fn encode(json: &str) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_json(json: &str) -> Option<Chosen> {
        read(&encode(json))
    }

    #[test]
    fn algorithm_and_name_are_taken_to_the_letter_and_all_else_is_left() {
        let json =
            r#"{"alg":"EdDSA","kid":"a\u0062","typ":"x","jku":"https://example.com","jwk":{"kty":"oct"},"x5u":1}"#;
        let (alg, kid) = ("EdDSA".to_owned(), Some("ab".to_owned()));
        assert_eq!(read_json(json), Some(Chosen { alg, kid }));
        for none in [r#"{"alg":"hs256"}"#, r#"{"alg":"hs256","kid":null}"#] {
            assert_eq!(read_json(none), Some(Chosen { alg: "hs256".to_owned(), kid: None }));
        }
    }

    #[test]
    fn a_header_out_of_form_chooses_nothing() {
        for json in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"kid":"a"}"#,
            r#"{"alg":1}"#,
            r#"{"alg":"HS256","kid":1}"#,
            r#"{"alg":"HS256","kid":["a"]}"#,
            r#"{"alg":"HS256","alg":"EdDSA"}"#,
            r#"{"alg":"EdDSA","kid":"a","kid":"b"}"#,
            r#"{"alg":"HS256"} "}"#,
        ] {
            assert_eq!(read_json(json), None, "{json}");
        }
        assert_eq!(read("eyJhbGciOiJIUzI1NiJ9="), None, "with padding");
    }

    #[test]
    fn no_critical_extension_is_understood() {
        for crit in [r#"["exp"]"#, r#"["b64"]"#, "[]", "null", r#""x""#] {
            assert_eq!(read_json(&format!(r#"{{"alg":"HS256","crit":{crit}}}"#)), None, "{crit}");
        }
    }
}
