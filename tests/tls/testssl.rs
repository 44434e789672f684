//! An examiner that tries everything that is known to be wrong with TLS servers.

use std::fs;

use serde_json::Value;

use crate::harness::tls::{Authority, Files};
use crate::harness::{Home, run};

/// Findings that are not the service's: of the tests' own authority, and of a host without DNS.
const OTHERS: [&str; 2] = ["cert_revocation", "DNS_CAArecord"];
/// Severities that say nothing against a server. WARN is what the tool could not examine, through a trouble of its own; what
/// the service claims has to be examined all the same.
const HARMLESS: [&str; 3] = ["OK", "INFO", "WARN"];

/// What the README says of TLS, under the names that versions of the tool have for it.
const CLAIMS: [(&str, &str); 15] = [
    ("SSLv2", "not offered"),
    ("SSLv3", "not offered"),
    ("TLS1", "not offered"),
    ("TLS1_1", "not offered"),
    ("TLS1_2", "offered"),
    ("TLS1_3", "offered with final"),
    ("ALPN_HTTP2", "h2"),
    ("ALPN", "http/1.1"),
    // The latter since 3.2.
    ("PFS|FS", "offered"),
    ("cert_chain_of_trust", "passed"),
    ("HSTS_time", "365 days"),
    ("secure_renego", "supported"),
    ("heartbleed", "not vulnerable"),
    ("ROBOT", "not vulnerable"),
    ("BEAST", "not vulnerable"),
];

fn tool() -> &'static str {
    let is_there = |name: &&str| std::process::Command::new(name).arg("--version").output().is_ok();
    // Debian calls it one way, everybody else the other.
    ["testssl", "testssl.sh"].into_iter().find(is_there).expect("testssl.sh")
}

#[tokio::test]
async fn nothing_is_found() {
    let (home, authority) = (Home::new(), Authority::new());
    let files = Files::of(&authority.sign());
    let service = home
        .serve()
        .env("ROLLCALL__SERVER__TLS_CERT_FILE", files.certificate.to_str().unwrap())
        .env("ROLLCALL__SERVER__TLS_KEY_FILE", files.key.to_str().unwrap())
        .env("ROLLCALL__SERVER__HSTS_MAX_AGE_S", "31536000")
        .env("ROLLCALL__TELEMETRY__LOG_FILTER", "warn")
        .ready()
        .await;
    let (ca, found) = (home.write("ca.pem", &authority.pem), home.path().join("found.json"));
    let place = format!("localhost:{}", service.addr.port());
    let offline =
        ["--ip", "127.0.0.1", "--nodns", "min", "--warnings", "batch", "--color", "0", "--openssl-timeout", "10"];
    let files = ["--add-ca", ca.to_str().unwrap(), "--jsonfile", found.to_str().unwrap()];
    // Protocols, ciphers, forward secrecy, preferences, defaults, headers, vulnerabilities.
    let what = ["-p", "-s", "-f", "-P", "-S", "-h", "-U", &place];
    let output = run(tool(), &[&["--quiet"], &offline[..], &files, &what].concat()).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let found: Vec<Value> = serde_json::from_str(&fs::read_to_string(&found).unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {said}"));
    let is_bad = |finding: &&Value| {
        !HARMLESS.contains(&finding["severity"].as_str().unwrap()) && !OTHERS.contains(&finding["id"].as_str().unwrap())
    };
    let bad: Vec<_> = found.iter().filter(is_bad).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    for (id, expected) in CLAIMS {
        let finding = found
            .iter()
            .find(|finding| id.split('|').any(|name| finding["id"] == name))
            .map(|finding| finding["finding"].clone());
        assert!(finding.as_ref().is_some_and(|text| text.as_str().unwrap().starts_with(expected)), "{id}: {finding:?}");
    }
    assert_eq!(service.stop().await.code, Some(0));
}
