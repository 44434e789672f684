//! A configuration file is read, or refused in one line that does not show what a secret key was set to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall::config::{Config, ConfigError};

const SECRET: &str = "hunter2-hunter2";

fuzz_target!(|text: &str| {
    check(Config::parse(text));
    // As the environment has it: the first line is a key, the rest its value.
    if let Some((key, value)) = text.split_once('\n') {
        check(Config::with(&[(key, value)]));
    }
    check(Config::parse(&format!("tokens.secret = \"{SECRET}\"\n{text}")));
});

fn check(outcome: Result<Config, ConfigError>) {
    if let Err(error) = outcome {
        let line = error.to_string();
        assert!(!line.contains(char::is_control), "more than a line: {line:?}");
        assert!(!line.contains(SECRET), "a secret is told: {line:?}");
    }
}
