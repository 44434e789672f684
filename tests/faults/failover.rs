//! The primary dies and its synchronous standby takes its place: clients go on, and nobody who was told to be registered is
//! lost.

use std::time::{Duration, Instant};

use crate::harness::{ANSWER_LIMIT, Home, Load, Server, Step, serve_at, until};

/// The default of `database.write_batches`.
const WRITES_AT_ONCE: i64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_is_found_and_the_old_primary_is_left_alone() {
    let (home, mut old) = (Home::new(), Server::start("").await);
    let new = old.standby().await;
    let service = serve_at(&home, &Server::url_of_primary(&[old.addr(), new.addr()])).ready().await;
    old.replicate_synchronously().await;

    let load = Load::mixed(&service, 8).await;
    load.succeeds(300).await;
    old.kill();
    load.is_refused(50).await;
    new.promote().await;
    let promoted = Instant::now();
    let grace = Duration::from_secs(5);
    tokio::time::sleep_until((promoted + grace).into()).await;
    load.succeeds(300).await;

    // It comes first in the URL, and takes connections again; but no writes.
    old.follow(&new).await;
    load.succeeds(300).await;
    let report = load.end().await;
    report.expect_bounded(ANSWER_LIMIT).expect_refusals().expect_service_since(promoted + grace);
    report.expect_kept_by(&new).await;
    assert!(old.is_standby().await && !new.is_standby().await);

    // Connections that are opened from now on pass it by, too.
    drop(service);
    let service = serve_at(&home, &Server::url_of_primary(&[old.addr(), new.addr()])).ready().await;
    let load = Load::mixed(&service, 8).await;
    load.succeeds(100).await;
    let report = load.end().await;
    report.expect_service_since(promoted).expect_kept_by(&new).await;
    assert!(old.is_standby().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_synchronous_standby_registrations_are_503_and_lookups_go_on() {
    let (home, primary) = (Home::new(), Server::start("").await);
    let mut standby = primary.standby().await;
    let service = serve_at(&home, &Server::url_of_primary(&[primary.addr(), standby.addr()])).ready().await;
    primary.replicate_synchronously().await;
    let load = Load::mixed(&service, 8).await;
    load.succeeds(300).await;
    standby.kill();
    // Each client's registration is refused three times.
    load.is_refused(24).await;
    // Whoever was refused waits no longer: commits wait for the standby, but only those that somebody waits for.
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let waiting = async || primary.admin().await.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    until("an end of the waits that were given up", async || waiting().await <= WRITES_AT_ONCE).await;
    standby.resume().await;
    let back = Instant::now() + Duration::from_secs(2);
    tokio::time::sleep_until(back.into()).await;
    load.succeeds(300).await;
    let report = load.end().await;
    report.expect_bounded(ANSWER_LIMIT).expect_refusals_of(&[Step::Register]).expect_service_since(back);
    report.expect_kept_by(&primary).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_stands_still_is_passed_by_once_its_standby_is_promoted() {
    let (home, old) = (Home::new(), Server::start("").await);
    let new = old.standby().await;
    let service = serve_at(&home, &Server::url_of_primary(&[old.addr(), new.addr()])).ready().await;
    old.replicate_synchronously().await;
    let load = Load::mixed(&service, 8).await;
    load.succeeds(300).await;
    // Its system goes on accepting connections, on which nobody ever says a word.
    old.freeze();
    load.is_refused(16).await;
    new.promote().await;
    let promoted = Instant::now();
    let grace = Duration::from_secs(5);
    tokio::time::sleep_until((promoted + grace).into()).await;
    load.succeeds(300).await;

    // Whoever wakes up and takes itself for the primary is not gone back to: the last that worked is asked first.
    old.thaw();
    load.succeeds(300).await;
    let report = load.end().await;
    report.expect_bounded(ANSWER_LIMIT).expect_refusals().expect_service_since(promoted + grace);
    report.expect_kept_by(&new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_passes_by_a_server_that_stands_still() {
    let (home, old) = (Home::new(), Server::start("").await);
    let new = old.standby().await;
    old.freeze();
    new.promote().await;
    let service = serve_at(&home, &Server::url_of_primary(&[old.addr(), new.addr()])).ready().await;
    let begun = Instant::now();
    let load = Load::mixed(&service, 8).await;
    load.succeeds(100).await;
    load.end().await.expect_bounded(ANSWER_LIMIT).expect_service_since(begun).expect_kept_by(&new).await;
}
