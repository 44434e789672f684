//! Properties of the parsed types, over inputs that nobody thought of.

use std::collections::HashSet;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use rollcall::domain::invisible::{is_directive, is_invisible};
use rollcall::features::accounts::types::User;
use rollcall::features::accounts::types::email::Email;
use rollcall::features::accounts::types::name::Name;
use rollcall::features::passwords::types::Password;
use rollcall::features::tokens::claims::Claims;
use rollcall::hashing::mcf::Mcf;
use rollcall::http::body::{BodyError, Given, MAX_VALUES, Secret, check, read};
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::harness::TestDatabase;

/// What bodies are read for.
#[derive(Debug, Deserialize)]
struct Body {
    #[serde(default)]
    name: Given<String>,
    #[serde(default)]
    password: Given<Secret>,
    #[serde(default)]
    flag: Given<bool>,
    #[serde(default)]
    list: Given<Vec<u32>>,
}

const KNOWN: [&str; 4] = ["name", "password", "flag", "list"];

/// Text that is nearly an address, with one oddity or another.
fn nearly_email() -> impl Strategy<Value = String> {
    let atom = "[A-Za-z0-9._%+-]{1,12}";
    prop_oneof![
        4 => (atom, "[A-Za-z0-9.-]{1,12}", "[A-Za-z]{1,6}").prop_map(|(a, b, c)| format!("{a}@{b}.{c}")),
        2 => "[a-zA-Z0-9._%+@ \\-\n\u{e9}\u{212a}\u{17f}]{0,30}",
        1 => ("[a-z]{180,245}", "[a-z]{2,10}").prop_map(|(a, b)| format!("{a}@{b}.com")),
        1 => any::<String>(),
    ]
}

/// One of the keys that are known, or any other.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![select(&KNOWN).prop_map(str::to_owned), any::<String>()]
}

/// JSON of any shape, whose objects have no key twice.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::hash_map(key(), inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// What a key must be read as.
fn expected<T>(value: Option<&Value>, of: impl FnOnce(&Value) -> Option<T>) -> Given<T> {
    match value {
        None | Some(Value::Null) => Given::Missing,
        Some(value) => of(value).map_or(Given::OtherType, Given::Value),
    }
}

/// What a body must be read as, key by key.
fn expect_fields(text: &str, value: &Value) -> Result<(), TestCaseError> {
    let parsed = read::<Body>(text.as_bytes());
    let Some(object) = value.as_object() else {
        prop_assert_eq!(parsed.err(), Some(BodyError::NotAnObject));
        return Ok(());
    };
    let text_of = |value: &Value| value.as_str().map(str::to_owned);
    let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
    let body = parsed.map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
    prop_assert_eq!(body.name, expected(object.get("name"), text_of));
    let password = match body.password {
        Given::Value(secret) => Given::Value(secret.into_inner().to_string()),
        Given::Missing => Given::Missing,
        Given::OtherType => Given::OtherType,
    };
    prop_assert_eq!(password, expected(object.get("password"), text_of));
    prop_assert_eq!(body.flag, expected(object.get("flag"), Value::as_bool));
    let list = |value: &Value| value.as_array()?.iter().map(number).collect::<Option<Vec<_>>>();
    prop_assert_eq!(body.list, expected(object.get("list"), list));
    Ok(())
}

proptest! {
    #[test]
    fn an_email_is_lower_case_and_parses_to_itself(text in nearly_email()) {
        if let Ok(email) = Email::parse(&text) {
            prop_assert_eq!(email.as_str(), text.to_lowercase());
            prop_assert!(email.as_str().len() <= 254);
            prop_assert_eq!(Email::parse(email.as_str()).ok(), Some(email));
        }
    }

    #[test]
    fn a_name_is_trimmed_and_parses_to_itself(text in prop_oneof![any::<String>(), "[ \t\u{a0}]{0,3}.{0,110}[ \u{2003}\n]{0,3}"]) {
        if let Ok(name) = Name::parse(&text) {
            prop_assert_eq!(name.as_str(), text.trim());
            prop_assert!((1..=100).contains(&name.as_str().chars().count()));
            prop_assert!(!name.as_str().chars().any(char::is_control));
            prop_assert_eq!(Name::parse(name.as_str()).ok(), Some(name));
        } else {
            let trimmed = text.trim();
            let count = trimmed.chars().count();
            let is_unseen = trimmed.chars().all(|c| c.is_whitespace() || is_invisible(c));
            let is_refused = |c: char| c.is_control() || is_directive(c);
            prop_assert!(is_unseen || count > 100 || trimmed.chars().any(is_refused), "{text:?}");
        }
    }

    #[test]
    fn a_password_is_chosen_if_and_only_if_it_keeps_every_rule(text in prop_oneof!["[aA1\u{0}é\u{1f600}]{6,40}", "[a-zA-Z0-9]{0,90}", any::<String>()]) {
        let keeps = text.chars().count() >= 8
            && text.len() <= 72
            && text.chars().any(char::is_uppercase)
            && text.chars().any(char::is_lowercase)
            && text.chars().any(|c| c.is_ascii_digit())
            && !text.contains('\0');
        let chosen = Password::choose(Zeroizing::new(text.clone()));
        prop_assert_eq!(chosen.is_ok(), keeps);
        if let Ok(password) = chosen {
            prop_assert_eq!(password.as_bytes(), text.as_bytes(), "nothing is trimmed or folded");
        }
    }

    #[test]
    fn a_broken_rule_is_told_once(text in any::<String>()) {
        if let Err(broken) = Password::choose(Zeroizing::new(text)) {
            let told: HashSet<_> = broken.iter().map(ToString::to_string).collect();
            prop_assert!(!broken.is_empty() && told.len() == broken.len());
        }
    }

    #[test]
    fn bodies_never_panic_whatever_the_bytes(bytes in vec(any::<u8>(), 0..200)) {
        let ours = read::<Body>(&bytes).is_ok();
        let theirs = serde_json::from_slice::<Value>(&bytes).is_ok_and(|value| value.is_object());
        // Of bytes at random only an object without keys twice can be told by serde_json alone.
        prop_assert!(!ours || theirs);
    }

    #[test]
    fn bodies_never_panic_on_what_is_nearly_json(text in "[\\{\\}\\[\\]\",:a0-9\\\\u d8ntrue.eE+-]{0,60}") {
        let ours = read::<Body>(text.as_bytes());
        let theirs = serde_json::from_str::<Value>(&text);
        match ours {
            Ok(_) => prop_assert!(theirs.is_ok_and(|value| value.is_object())),
            Err(BodyError::NotAnObject) => prop_assert!(theirs.is_ok_and(|value| !value.is_object())),
            Err(BodyError::DuplicateKey) => {}
            Err(error) => prop_assert!(theirs.is_err(), "{error}: {text}"),
        }
    }

    #[test]
    fn fields_are_what_serde_json_reads_where_no_key_comes_twice(value in json()) {
        expect_fields(&value.to_string(), &value)?;
        expect_fields(&serde_json::to_string_pretty(&value).unwrap(), &value)?;
    }

    #[test]
    fn values_are_counted_whatever_they_are(values in vec(json(), 0..2 * MAX_VALUES / 9)) {
        fn count(value: &Value) -> usize {
            1 + value.as_array().into_iter().flatten().map(count).sum::<usize>()
                + value.as_object().into_iter().flatten().map(|(_, value)| count(value)).sum::<usize>()
        }
        let body = serde_json::json!({"values": values});
        let expected = (count(&body) > MAX_VALUES).then_some(BodyError::TooManyValues);
        prop_assert_eq!(check(body.to_string().as_bytes()).err(), expected);
    }

    #[test]
    fn a_key_twice_is_always_found(object in proptest::collection::hash_map("[a-z]{1,5}", json(), 1..5), at in any::<prop::sample::Index>()) {
        let entries: Vec<_> = object.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let again = at.get(&entries).clone();
        let text = format!("{{{},{again}}}", entries.join(","));
        prop_assert_eq!(check(text.as_bytes()).err(), Some(BodyError::DuplicateKey), "{}", text);
    }

    #[test]
    fn a_hash_is_written_as_it_was_read(cost in 4_u32..=31, salt in "[./A-Za-z0-9]{21}[.Oeu]", digest in "[./A-Za-z0-9]{30}[.CGKOSWaeimquy26]", version in "[aby]") {
        let text = format!("$2{version}${cost:02}${salt}{digest}");
        let parsed = text.parse::<Mcf>();
        prop_assert!(parsed.is_ok(), "{}", text);
        let parsed = parsed.unwrap();
        prop_assert_eq!(parsed.encode(), text);
    }

    #[test]
    fn no_text_makes_the_hash_parser_panic(text in prop_oneof![any::<String>(), "\\$2[abxy]?\\$[0-9]{0,3}\\$.{0,60}"]) {
        if let Ok(parsed) = text.parse::<Mcf>() {
            prop_assert_eq!(text.len(), 60);
            prop_assert_eq!(parsed.encode().len(), 60);
        }
    }

    #[test]
    fn claims_hold_for_their_lifetime_and_survive_json(id in any::<u128>(), now in 0_i64..4_102_444_800, ttl in 1_u64..31_536_000) {
        let user = User {
            id: Uuid::from_u128(id),
            name: Name::parse("A").unwrap(),
            email: Email::parse("a@example.com").unwrap(),
            created_at: OffsetDateTime::UNIX_EPOCH,
        };
        let claims = Claims::issue(user.id, user.email.as_str(), OffsetDateTime::from_unix_timestamp(now).unwrap(), Duration::from_secs(ttl));
        prop_assert_eq!((claims.iat, claims.exp), (now, now + i64::try_from(ttl).unwrap()));
        let json = serde_json::to_value(&claims).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        prop_assert_eq!(keys, ["email", "exp", "iat", "userId"]);
        prop_assert_eq!(json["userId"].clone(), Value::from(user.id.hyphenated().to_string()));
        prop_assert_eq!(serde_json::from_value::<Claims>(json).unwrap(), claims);
    }
}

/// A thousand values of a strategy.
fn thousand<T>(strategy: impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::new(Config::default());
    (0..1_000).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[tokio::test]
async fn the_database_accepts_every_address_that_parses() {
    let db = TestDatabase::migrated().await;
    let inputs = thousand(nearly_email());
    let emails: HashSet<_> = inputs.iter().filter_map(|text| Email::parse(text).ok()).collect();
    assert!(emails.len() > 200, "the strategy finds addresses: {}", emails.len());
    let emails: Vec<_> = emails.iter().map(Email::as_str).collect();
    let insert = "INSERT INTO users (name, email, password_hash) SELECT 'A', unnest($1::text[]), ''";
    assert_eq!(
        db.execute(insert, &[&emails]).await,
        emails.len() as u64,
        "all pass the CHECK, and none is another's twin"
    );
}

#[tokio::test]
async fn the_database_accepts_every_name_that_parses() {
    let db = TestDatabase::migrated().await;
    let names: Vec<_> =
        thousand(prop_oneof![any::<String>(), ".{1,100}"]).iter().filter_map(|text| Name::parse(text).ok()).collect();
    assert!(names.len() > 200, "the strategy finds names: {}", names.len());
    let names: Vec<_> = names.iter().map(Name::as_str).collect();
    let insert = "INSERT INTO users (name, email, password_hash)
        SELECT name, 'user' || at || '@example.com', '' FROM unnest($1::text[]) WITH ORDINALITY AS names (name, at)";
    assert_eq!(db.execute(insert, &[&names]).await, names.len() as u64);
    let read: Vec<String> = db
        .rows("SELECT name FROM users ORDER BY length(email), email", &[])
        .await
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(read, names, "and gives it back as it was");
}
