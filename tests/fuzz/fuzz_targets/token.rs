//! No text passes for a token but one that was signed with the secret, and of those only one with claims and time left.
#![no_main]

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use libfuzzer_sys::fuzz_target;
use rollcall::features::tokens::handle;
use secrecy::SecretString;

const SECRET: &str = "a-secret-of-the-tests-that-is-long-enough";

static KEY: LazyLock<EncodingKey> = LazyLock::new(|| {
    let _ = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    EncodingKey::from_secret(SECRET.as_bytes())
});

fuzz_target!(|text: &str| {
    let key = &*KEY;
    let secret = SecretString::from(SECRET);
    assert!(handle::verify_with(&secret, text).is_err(), "a forgery");
    // What lies behind the signature: two lines are a header and claims, and are signed as they are.
    let Some((header, claims)) = text.split_once('\n') else { return };
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = crypto::sign(message.as_bytes(), key, Algorithm::HS256).expect("a signature");
    if let Ok(claims) = handle::verify_with(&secret, &format!("{message}.{signature}")) {
        let header: serde_json::Value = serde_json::from_str(header).expect("a header");
        assert_eq!(header["alg"], "HS256", "the secret's one algorithm");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        assert!(u64::try_from(claims.exp).is_ok_and(|exp| exp >= now), "expired");
    }
});
