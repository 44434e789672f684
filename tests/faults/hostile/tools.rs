//! The tools that others attack with: slowhttptest and h2load.

use std::process::Command;

use super::stage::{Attack, BODY_TIMEOUT, HEADER_TIMEOUT, Setting, Stage, WRITE_TIMEOUT};
use crate::harness::soon;

/// What a program says until its good end.
async fn run(program: &str, args: Vec<String>) -> String {
    let mut command = Command::new(program);
    command.args(args);
    let name = format!("{command:?}");
    let ended = soon(&name, tokio::task::spawn_blocking(move || command.output())).await.unwrap();
    let output = ended.unwrap_or_else(|error| panic!("{name}: {error}; `.ci/install` has it"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name}: {text}");
    text
}

/// Attacks by slowhttptest in one of its modes, against which there is a timeout, and checks that the last state it prints
/// and what follows have all of these words.
async fn slowhttptest(
    name: &'static str,
    outcome: &'static str,
    timeout: Setting,
    args: &'static str,
    words: &'static [&'static str],
) {
    let attack = Attack { name, outcome, attackers: 1, begun: 0, memory: 64 };
    Stage::with(&[timeout])
        .await
        .under(attack, move |addr| async move {
            let args = format!("-c 300 -i 1 -l 8 -p 3 {}", args.replace("URL", &format!("http://{addr}")));
            let said = plain(&run("slowhttptest", args.split(' ').map(str::to_owned).collect()).await);
            let last = said.rsplit_once("slow HTTP test status").map_or("", |(_, last)| last);
            assert!(words.iter().all(|word| last.contains(word)), "{said}");
        })
        .await;
}

/// Without terminal sequences and with single spaces.
fn plain(text: &str) -> String {
    let mut pieces = text.split('\u{1b}');
    let first = pieces.next().unwrap_or_default().to_owned();
    let rest = pieces.map(|piece| piece.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest));
    let text = rest.fold(first, |text, piece| text + piece);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const NO_CONNECTION_HELD: &[&str] = &["service available: YES", "No open connections left"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slowhttptest_does_not_get_through_with_slow_headers() {
    let outcome = "no connection held, service available";
    for (name, args) in [
        ("slowhttptest -H", "-r 50 -H -u URL/"),
        ("slowhttptest -H, 300 connections within a second", "-r 300 -H -u URL/"),
    ] {
        slowhttptest(name, outcome, HEADER_TIMEOUT, args, NO_CONNECTION_HELD).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slowhttptest_does_not_get_through_with_slow_bodies() {
    let outcome = "no connection held, service available";
    let args = "-r 50 -B -f application/json -u URL/api/users/login";
    slowhttptest("slowhttptest -B", outcome, BODY_TIMEOUT, args, NO_CONNECTION_HELD).await;
}

/// What the system holds for a connection that the service has left, the tool goes on reading, and can't tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slowhttptest_does_not_get_through_with_slow_reading() {
    let args = "-r 50 -X -w 512 -y 1024 -n 1 -z 32 -k 3 -u URL/docs/swagger-ui-bundle.js";
    slowhttptest("slowhttptest -X", "service available", WRITE_TIMEOUT, args, &["service available: YES"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2load_is_answered_in_full() {
    let attack = Attack {
        name: "h2load: 50 connections, 1,000 requests a second",
        outcome: "every request answered",
        attackers: 1,
        begun: 0,
        memory: 64,
    };
    Stage::open()
        .await
        .under(attack, |addr| async move {
            let args = format!("-n 3000 -c 50 -m 100 --rps 20 http://{addr}/");
            let said = run("h2load", args.split(' ').map(str::to_owned).collect()).await;
            assert!(said.contains("3000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
        })
        .await;
}
