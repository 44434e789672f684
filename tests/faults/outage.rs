//! The database dies, or stands still: requests are refused in time, and served again as soon as it is back.

use std::time::{Duration, Instant};

use crate::harness::{ANSWER_LIMIT, DATABASE_TIMEOUT, Home, Load, Server, serve_on};

const CLIENTS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_database_is_503_until_it_is_back_and_loses_no_acknowledged_user() {
    let (home, mut server) = (Home::new(), Server::start("").await);
    let service = serve_on(&home, &server).ready().await;
    let grace = Duration::from_secs(2);
    for _ in 0..3 {
        let load = Load::mixed(&service, CLIENTS).await;
        load.succeeds(300).await;
        server.kill();
        load.is_refused(100).await;
        server.resume().await;
        let back = Instant::now();
        tokio::time::sleep_until((back + grace).into()).await;
        load.succeeds(300).await;
        let report = load.end().await;
        report.expect_bounded(ANSWER_LIMIT).expect_refusals().expect_service_since(back + grace);
        report.expect_kept_by(&server).await;
    }
    // The process that was started is the one that has answered all along, and it is in order.
    assert_eq!(service.stop().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_database_is_503_in_time_and_serves_again_once_it_goes_on() {
    let (home, server) = (Home::new(), Server::start("").await);
    let service = serve_on(&home, &server).ready().await;
    let load = Load::mixed(&service, CLIENTS).await;
    load.succeeds(300).await;
    server.freeze();
    let frozen = Instant::now();
    tokio::time::sleep(Duration::from_secs(10)).await;
    server.thaw();
    let thawed = Instant::now();
    // What was sent before may still be given up on; what is sent a moment later meets a database in order.
    let grace = Duration::from_secs(1);
    tokio::time::sleep_until((thawed + grace).into()).await;
    load.succeeds(300).await;
    let report = load.end().await;
    report.expect_bounded(ANSWER_LIMIT).expect_refusals().expect_service_since(thawed + grace);
    // A client that is refused after every timeout is refused several times in ten seconds.
    let refusals = report.refusals_between(frozen, thawed);
    let rounds = (thawed - frozen).as_secs() / ANSWER_LIMIT.as_secs();
    assert!(refusals >= CLIENTS * usize::try_from(rounds).unwrap(), "{refusals} refusals, {DATABASE_TIMEOUT:?} each");
    report.expect_kept_by(&server).await;
    assert_eq!(service.stop().await.code, Some(0));
}
