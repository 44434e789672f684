//! An address that is accepted is one that the table's constraint `users_email_format` accepts too, and stays what it is.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use regex_lite::Regex;
use rollcall::features::accounts::types::email::{Email, MAX_BYTES};

static CONSTRAINT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$").expect("a pattern"));

fuzz_target!(|text: &str| {
    match Email::parse(text) {
        Ok(email) => {
            assert!(email.as_str().len() <= MAX_BYTES);
            assert!(CONSTRAINT.is_match(email.as_str()), "the database would refuse it");
            assert!(email.as_str().eq_ignore_ascii_case(text), "another address");
            assert_eq!(Email::parse(email.as_str()), Ok(email), "its own spelling");
        }
        Err(broken) => assert!(!broken.is_empty(), "refused without a reason"),
    }
});
