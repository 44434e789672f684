//! A body is read as the service's JSON or refused as such, never with a panic; `serde_json` by itself has the same opinion.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall::features::accounts::types::name::Name;
use rollcall::http::body::{BodyError, Broken, Given, MAX_VALUES, Secret, read};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    name: Given<String>,
    #[serde(default)]
    password: Given<Secret>,
    #[serde(default)]
    flag: Given<bool>,
    #[serde(default)]
    list: Given<Vec<String>>,
}

fuzz_target!(|bytes: &[u8]| {
    let plain = serde_json::from_slice::<Value>(bytes);
    let body = match read::<Body>(bytes) {
        Ok(body) => body,
        Err(BodyError::NotJson) => return assert!(plain.is_err(), "refused as no JSON"),
        Err(BodyError::NotAnObject) => return assert!(!plain.expect("JSON").is_object(), "refused as no object"),
        // `serde_json` lets them pass, and the rest of the body was not looked at.
        Err(BodyError::DuplicateKey) => return,
        Err(BodyError::TooManyValues) => return assert!(bytes.len() > MAX_VALUES, "refused as too many values"),
        Err(error) => panic!("{error}"),
    };
    let plain = plain.expect("JSON");
    let mut broken = Broken::default();
    let name = broken.required("name", body.name);
    assert_eq!(name.as_deref(), plain["name"].as_str());
    let password = broken.required("password", body.password).map(Secret::into_inner);
    assert_eq!(password.as_ref().map(|text| text.as_str()), plain["password"].as_str());
    assert_eq!(broken.required("flag", body.flag), plain["flag"].as_bool());
    let list = broken.required("list", body.list);
    assert_eq!(list.is_some(), plain["list"].as_array().is_some_and(|list| list.iter().all(Value::is_string)));
    if let Some(Ok(name)) = name.map(|name| Name::parse(&name)) {
        assert!((1..=100).contains(&name.as_str().chars().count()));
        assert!(!name.as_str().contains(char::is_control));
    }
});
