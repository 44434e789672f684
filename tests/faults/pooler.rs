//! PgBouncer stands before the database and gives each transaction another connection: everything works, unnamed.

use std::time::{Duration, Instant};

use crate::harness::program::Service;
use crate::harness::server::pooler::CONNECTIONS;
use crate::harness::{ANSWER_LIMIT, Home, Load, Pooler, Server, Start, serve_at};

fn serve(home: &Home, pooler: &Pooler) -> Start {
    serve_at(home, &Server::url_of(pooler.addr())).env("ROLLCALL__DATABASE__STATEMENT_MODE", "unnamed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_everything_works_and_few_connections_are_enough() {
    let (home, server) = (Home::new(), Server::start("").await);
    let pooler = Pooler::before(&server).await;
    // All of them migrate at the same time.
    let starts: Vec<_> = (0..3).map(|_| tokio::spawn(serve(&home, &pooler).ready())).collect();
    let mut services: Vec<Service> = Vec::new();
    for start in starts {
        services.push(start.await.unwrap());
    }
    let (begun, mut loads) = (Instant::now(), Vec::new());
    for service in &services {
        loads.push(Load::mixed(service, 8).await);
    }
    for load in &loads {
        load.succeeds(300).await;
    }
    for load in loads {
        let report = load.end().await;
        report.expect_bounded(ANSWER_LIMIT).expect_service_since(begun).expect_kept_by(&server).await;
    }
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'rollcall'";
    let connections: i64 = server.admin().await.query_one(sql, &[]).await.unwrap().get(0);
    assert!((1..=CONNECTIONS).contains(&connections), "{connections}");

    // A login's new hash goes the same way.
    services[0].register_john().await;
    let dearer = serve(&home, &pooler).env("ROLLCALL__HASHING__COST", "5").ready().await;
    dearer.token().await;
    let sql = "SELECT password_hash FROM users WHERE email = 'john.doe@example.com'";
    let upgraded = async || {
        let hash: String = server.admin().await.query_one(sql, &[]).await.unwrap().get(0);
        hash.starts_with("$2b$05$")
    };
    crate::harness::until("a hash of the new cost", upgraded).await;
    let check = serve(&home, &pooler).arg("check").run().await;
    assert_eq!(check.code, Some(0), "{check:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_is_killed_is_503_until_it_is_back() {
    let (home, server) = (Home::new(), Server::start("").await);
    let mut pooler = Pooler::before(&server).await;
    let service = serve(&home, &pooler).ready().await;
    let load = Load::mixed(&service, 8).await;
    load.succeeds(100).await;
    pooler.kill();
    load.is_refused(50).await;
    pooler.resume().await;
    let back = Instant::now() + Duration::from_secs(2);
    tokio::time::sleep_until(back.into()).await;
    load.succeeds(300).await;
    let report = load.end().await;
    report.expect_bounded(ANSWER_LIMIT).expect_refusals().expect_service_since(back).expect_kept_by(&server).await;
}
