//! The standby that answers lookups by id dies, or stands still: the primary, which is in order, answers in its place.

use std::time::{Duration, Instant};

use crate::harness::program::Service;
use crate::harness::scratch::free_port;
use crate::harness::{ANSWER_LIMIT, EMAIL, Home, Load, Server, serve_on, until};

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
async fn a_standby_that_stands_still_costs_no_request() {
    let home = Home::new();
    let (primary, standby, service) = start(&home).await;
    let begun = Instant::now();
    let load = Load::mixed(&service, 8).await;
    load.succeeds(300).await;
    standby.freeze();
    // Long enough for the standby to be tried again, more than once.
    tokio::time::sleep(Duration::from_secs(15)).await;
    standby.thaw();
    load.succeeds(300).await;
    let report = load.end().await;
    report.expect_bounded(ANSWER_LIMIT).expect_service_since(begun).expect_kept_by(&primary).await;
    // Only those lookups waited that were under way when it stopped: as many statements as there may be at once.
    let log = service.program.stderr();
    assert!(log.matches("find_by_id_at_replica").count() <= 2, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_just_registered_is_found_though_the_standby_lags() {
    let home = Home::new();
    let (_primary, standby, service) = start(&home).await;
    service.register_email("before@example.com").await.expect_json(201);
    until("the standby's copy", async || standby.emails().await.contains("before@example.com")).await;
    standby.admin().await.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
    let paused = "SELECT pg_get_wal_replay_pause_state() = 'paused'";
    until("a pause", async || standby.admin().await.query_one(paused, &[]).await.unwrap().get(0)).await;
    let john = service.register_john().await;
    let token = service.token().await;
    assert_eq!(service.me(&token).await.expect_json(200)["data"], john);
    assert!(!standby.emails().await.contains(EMAIL), "it has been found at the primary");
    assert!(is_asked(&standby).await, "after the standby had been asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_none_is_refused_at_the_start() {
    let home = Home::new();
    let (primary, standby, _) = start(&home).await;
    let with_replica = |url: &str| serve_on(&home, &primary).env("ROLLCALL__DATABASE__REPLICA_URL", url);
    let itself = with_replica(&Server::url_of(primary.addr())).run().await;
    itself.expect_failure(&["database.replica_url", "leads to a primary"]);
    let other = Server::start("").await;
    let others_standby = other.standby().await;
    for foreign in [&other, &others_standby] {
        let refused = with_replica(&Server::url_of(foreign.addr())).run().await;
        refused.expect_failure(&["database.replica_url", "another cluster"]);
    }
    with_replica("mysql://nobody").run().await.expect_failure(&["database.replica_url", "postgresql://"]);
    let check = with_replica(&Server::url_of(standby.addr())).arg("check").run().await;
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(check.stdout.contains("lookups by id go to database.replica_url"), "{check:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_down_at_the_start_is_asked_once_it_is_up() {
    let home = Home::new();
    let (primary, mut standby, _) = start(&home).await;
    standby.kill();
    let begun = Instant::now();
    let start = serve_on(&home, &primary).env("ROLLCALL__DATABASE__REPLICA_URL", &Server::url_of(standby.addr()));
    let mut service = start.ready().await;
    service.program.logged("the replica does not answer").await;
    let load = Load::mixed(&service, 4).await;
    load.succeeds(100).await;
    standby.resume().await;
    until("a standby that is asked", async || is_asked(&standby).await).await;
    load.succeeds(100).await;
    let report = load.end().await;
    report.expect_bounded(ANSWER_LIMIT).expect_service_since(begun).expect_kept_by(&primary).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_standbys_one_that_is_there_is_asked_and_no_primary() {
    let home = Home::new();
    let (primary, standby, _) = start(&home).await;
    let hosts = [free_port(), primary.addr().port(), standby.addr().port()].map(|port| format!("127.0.0.1:{port}"));
    let url = format!("postgresql://rollcall@{}/rollcall", hosts.join(","));
    let service = serve_on(&home, &primary).env("ROLLCALL__DATABASE__REPLICA_URL", &url).ready().await;
    let begun = Instant::now();
    let load = Load::mixed(&service, 4).await;
    load.succeeds(100).await;
    load.end().await.expect_bounded(ANSWER_LIMIT).expect_service_since(begun).expect_kept_by(&primary).await;
    assert!(is_asked(&standby).await);
}

/// Whether the service has looked users up there.
async fn is_asked(standby: &Server) -> bool {
    let sql = "SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'rollcall' AND query LIKE 'SELECT user_id, name, email, created_at FROM users%'";
    standby.admin().await.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0
}
