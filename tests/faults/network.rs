//! The way to the database is slow, stands still or breaks, while the database itself is in order.

use std::time::{Duration, Instant};

use crate::harness::program::Service;
use crate::harness::{ANSWER_LIMIT, Home, Load, Proxy, Server, serve_at};

async fn start() -> (Home, Server, Proxy, Service) {
    let (home, server) = (Home::new(), Server::start("").await);
    let proxy = Proxy::before(&server).await;
    let service = serve_at(&home, &Server::url_of(proxy.addr())).ready().await;
    (home, server, proxy, service)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_connection_costs_the_requests_on_it_and_no_other() {
    let (_home, server, proxy, service) = start().await;
    for _ in 0..5 {
        let load = Load::mixed(&service, 8).await;
        load.succeeds(100).await;
        proxy.stall();
        proxy.holds(2).await;
        proxy.cut();
        proxy.flow();
        let noticed = Instant::now() + Duration::from_millis(100);
        tokio::time::sleep_until(noticed.into()).await;
        load.succeeds(100).await;
        let report = load.end().await;
        report.expect_bounded(ANSWER_LIMIT).expect_refusals().expect_kept_by(&server).await;
        // Whoever asks after that is not troubled by the connections that lay idle in the pool when they broke.
        report.expect_service_since(noticed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_far_away_is_served_from_as_well() {
    let (_home, server, proxy, service) = start().await;
    let load = Load::mixed(&service, 8).await;
    let delayed = Instant::now();
    proxy.delay(Duration::from_millis(50));
    load.succeeds(300).await;
    let report = load.end().await;
    report.expect_bounded(ANSWER_LIMIT).expect_service_since(delayed).expect_kept_by(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_that_stands_still_is_503_in_time_and_serves_again_once_it_flows() {
    let (_home, server, proxy, service) = start().await;
    let load = Load::mixed(&service, 8).await;
    load.succeeds(100).await;
    proxy.stall();
    tokio::time::sleep(Duration::from_secs(7)).await;
    proxy.flow();
    let grace = Duration::from_millis(500);
    let flowing = Instant::now() + grace;
    tokio::time::sleep_until(flowing.into()).await;
    load.succeeds(300).await;
    let report = load.end().await;
    report.expect_bounded(ANSWER_LIMIT).expect_refusals().expect_service_since(flowing).expect_kept_by(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_lost_without_a_word_are_given_up_on_and_replaced() {
    let (_home, server, proxy, service) = start().await;
    let load = Load::mixed(&service, 8).await;
    load.succeeds(300).await;
    proxy.lose();
    // Those in use are given up on after the statement's time; an idle one must not cost another request as long.
    let replaced = Instant::now() + ANSWER_LIMIT;
    tokio::time::sleep_until(replaced.into()).await;
    load.succeeds(300).await;
    let report = load.end().await;
    report.expect_bounded(ANSWER_LIMIT).expect_refusals().expect_service_since(replaced).expect_kept_by(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_that_are_lost_without_a_word_refuse_nobody() {
    let (_home, server, proxy, service) = start().await;
    let load = Load::mixed(&service, 16).await;
    load.succeeds(300).await;
    load.end().await.expect_kept_by(&server).await;
    assert!(proxy.carries() > 2, "a pool of several connections: {}", proxy.carries());
    // As long as it takes for a connection to count as idle, and longer.
    tokio::time::sleep(Duration::from_secs(2)).await;
    proxy.lose();
    let lost = Instant::now();
    // One after the other: each could meet another of them.
    let load = Load::mixed(&service, 1).await;
    load.succeeds(60).await;
    let report = load.end().await;
    report.expect_bounded(ANSWER_LIMIT).expect_service_since(lost).expect_kept_by(&server).await;
}
