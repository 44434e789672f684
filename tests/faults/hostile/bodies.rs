//! JSON that is meant to be hard to read.

use super::stage::{Attack, Stage};
use crate::harness::Api;

/// Posts each body to both routes that read one, again and again.
async fn refused(name: &'static str, outcome: &'static str, bodies: Vec<String>, status: u16, code: &'static str) {
    let attack = Attack { name, outcome, attackers: 4, begun: 0, memory: 32 };
    Stage::open()
        .await
        .under(attack, move |addr| {
            let bodies = bodies.clone();
            async move {
                let api = Api::new(addr);
                for body in bodies {
                    for path in ["/api/users/register", "/api/users/login"] {
                        api.post_bytes(path, body.clone()).await.expect_refusal(status, code);
                    }
                }
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_levels_are_400() {
    let levels = |open: &str, close: &str| format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
    let bodies = vec![
        levels("[", "]"),
        "[".repeat(60_000),
        levels("{\"a\":", "}"),
        format!("{{\"email\":{},\"password\":\"x\"}}", levels("[", "]")),
    ];
    refused("10,000 levels of JSON", "400", bodies, 400, "malformed_json").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_beyond_all_bounds_are_400() {
    let numbers = ["9".repeat(60_000), "1e999999999".to_owned()];
    let bodies = numbers.iter().map(|number| format!("{{\"email\":{number}}}")).collect();
    refused("Numbers of 60,000 digits", "400", bodies, 400, "malformed_json").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_items_without_number_are_413() {
    let bodies = vec![format!("{{{}}}", keys(5_000)), format!("{{\"a\":[{}0]}}", "[],".repeat(20_000))];
    refused("5,000 keys, 20,000 items", "413", bodies, 413, "too_many_values").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_items_to_the_last_that_may_be_are_read() {
    let bodies = vec![
        format!("{{{},\"k1\":0}}", keys(997)),
        format!("{{\"a\":[{}0],\"a\":1}}", "[],".repeat(990)),
        format!("{{\"{}\":0,{},\"k1\":0}}", "k".repeat(45_000), keys(997)),
    ];
    refused("1,000 keys or items", "400", bodies, 400, "duplicate_key").await;
}

fn keys(count: usize) -> String {
    (0..count).map(|n| format!("\"k{n}\":{n}")).collect::<Vec<_>>().join(",")
}
