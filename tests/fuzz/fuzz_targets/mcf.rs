//! Any string is parsed or refused without a panic, and what was parsed is written as something that parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall::hashing::mcf::Mcf;

fuzz_target!(|text: &str| {
    if let Ok(hash) = text.parse::<Mcf>() {
        let written = hash.encode();
        let again: Mcf = written.parse().expect("what was written parses");
        assert_eq!((again.cost, again.salt, again.encode()), (hash.cost, hash.salt, written));
    }
});
