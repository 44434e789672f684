//! A body is read as the service's JSON or refused as such, never with a panic; `serde_json` by itself has the same opinion.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall::domain::user::{NewUser, RegistrationFields};
use rollcall::http::body::{BodyError, Field, Fields, MAX_VALUES};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let plain = serde_json::from_slice::<Value>(bytes);
    let mut fields = match Fields::parse(bytes) {
        Ok(fields) => fields,
        Err(BodyError::NotJson) => return assert!(plain.is_err(), "refused as no JSON"),
        Err(BodyError::NotAnObject) => return assert!(!plain.expect("JSON").is_object(), "refused as no object"),
        // `serde_json` lets them pass, and the rest of the body was not looked at.
        Err(BodyError::DuplicateKey) => return,
        Err(BodyError::TooManyValues) => return assert!(bytes.len() > MAX_VALUES, "refused as too many values"),
        Err(error) => panic!("{error}"),
    };
    let plain = plain.expect("JSON");
    let mut take = |field, key: &str| {
        let taken = fields.take(field);
        assert_eq!(taken.as_ref().ok().map(|text| text.as_str()), plain[key].as_str(), "{key}");
        taken
    };
    let parsed = NewUser::parse(RegistrationFields {
        name: take(Field::Name, "name"),
        email: take(Field::Email, "email"),
        password: take(Field::Password, "password"),
    });
    match parsed {
        Ok(user) => {
            assert!((1..=100).contains(&user.name.as_str().chars().count()));
            assert!(!user.name.as_str().contains(char::is_control));
        }
        Err(broken) => assert!(!broken.is_empty(), "refused without a reason"),
    }
});
