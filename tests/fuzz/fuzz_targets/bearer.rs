//! Whatever the Authorization headers hold, there is one token of visible characters, or none.
#![no_main]

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use rollcall::http::bearer;

fuzz_target!(|bytes: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.append(AUTHORIZATION, value);
    }
    if let Ok(token) = bearer::token(&headers) {
        assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(bytes.len(), "bearer ".len() + token.len(), "one header, and nothing but the token");
        assert!(bytes.ends_with(token.as_bytes()) && bytes[..7].eq_ignore_ascii_case(b"bearer "));
    }
});
