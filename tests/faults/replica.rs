//! The standby that answers lookups by id dies, or stands still: the primary, which is in order, answers in its place.

use std::time::{Duration, Instant};

use crate::harness::program::Service;
use crate::harness::{ANSWER_LIMIT, Home, Load, Server, Step, serve_on};

async fn start(home: &Home) -> (Server, Server, Service) {
    let primary = Server::start("").await;
    let standby = primary.standby().await;
    let start = serve_on(home, &primary);
    // A start migrates the primary, and the standby follows, before it is looked at.
    let first = start.ready().await;
    assert_eq!(first.stop().await.code, Some(0));
    primary.is_followed().await;
    let start = serve_on(home, &primary).env("ROLLCALL__DATABASE__REPLICA_URL", &Server::url_of(standby.addr()));
    let service = start.ready().await;
    (primary, standby, service)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_standby_costs_no_request() {
    let home = Home::new();
    let (primary, mut standby, service) = start(&home).await;
    let begun = Instant::now();
    let load = Load::mixed(&service, 8).await;
    load.succeeds(300).await;
    standby.kill();
    load.succeeds(300).await;
    standby.resume().await;
    load.succeeds(300).await;
    let report = load.end().await;
    report.expect_bounded(ANSWER_LIMIT).expect_service_since(begun).expect_kept_by(&primary).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_stands_still_costs_no_more_than_the_lookups_that_find_out() {
    let home = Home::new();
    let (primary, standby, service) = start(&home).await;
    let load = Load::mixed(&service, 8).await;
    load.succeeds(300).await;
    standby.freeze();
    let found_out = Instant::now() + ANSWER_LIMIT;
    // Long enough for the standby to be tried again, more than once.
    tokio::time::sleep(Duration::from_secs(15)).await;
    standby.thaw();
    load.succeeds(300).await;
    let report = load.end().await;
    report.expect_bounded(ANSWER_LIMIT).expect_no_refusals_but(Step::Me);
    report.expect_service_since(found_out).expect_kept_by(&primary).await;
}
