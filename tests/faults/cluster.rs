//! The private cluster dies under the service that owns it, which starts it again.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio_postgres::NoTls;

use crate::harness::scratch::postmaster;
use crate::harness::{ANSWER_LIMIT, DATABASE_TIMEOUT, Home, Load, Start, processes, soon, until};

/// The service without a database of anybody else's.
fn serve(home: &Home) -> Start {
    home.serve()
        .env("ROLLCALL__LIMITS__ENABLED", "false")
        .env("ROLLCALL__DATABASE__TIMEOUT_MS", &DATABASE_TIMEOUT.as_millis().to_string())
        .env("ROLLCALL__TELEMETRY__LOG_FILTER", "warn")
}

async fn emails(home: &Home) -> BTreeSet<String> {
    let mut settings = tokio_postgres::Config::new();
    settings.host_path(home.data().join("run")).user("rollcall").dbname("postgres");
    let (client, connection) = soon("a connection", settings.connect(NoTls)).await.unwrap();
    tokio::spawn(connection);
    let rows = soon("users", client.query("SELECT email FROM users", &[])).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn successor(home: &Home, of: Pid) -> Pid {
    let next = async || postmaster(&home.data()).is_some_and(|pid| pid != of);
    until("another server", next).await;
    postmaster(&home.data()).unwrap()
}

/// No process of its server's is left, nor of a server that it was about to start.
async fn is_left_alone(home: &Home) {
    assert_eq!(postmaster(&home.data()), None);
    let data = home.data().join("postgres").canonicalize().unwrap();
    until("the end of all processes", async || processes::working_in(&data).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_private_cluster_is_brought_back_while_serving() {
    let home = Home::new();
    let service = serve(&home).ready().await;
    for round in 0..3 {
        let load = Load::mixed(&service, 8).await;
        load.succeeds(100).await;
        let server = postmaster(&home.data()).expect("a server");
        if round == 1 {
            // Its children notice by themselves, each at its own time, and are in the successor's way until then.
            kill_process(server, Signal::KILL).unwrap();
        } else {
            processes::kill_all(server);
        }
        load.is_refused(1).await;
        successor(&home, server).await;
        load.succeeds(300).await;
        let report = load.end().await;
        report.expect_bounded(ANSWER_LIMIT).expect_refusals();
        let lost: Vec<_> = report.acknowledged().difference(&emails(&home).await).cloned().collect();
        assert_eq!(lost, [] as [String; 0], "acknowledged, and not in the database");
    }
    let log = service.program.stderr();
    assert_eq!(log.matches("the private PostgreSQL server ended").count(), 3, "{log}");
    assert_eq!(service.stop().await.code, Some(0));
    is_left_alone(&home).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_taken_over_is_brought_back_too() {
    let home = Home::new();
    serve(&home).ready().await.kill().await;
    let server = postmaster(&home.data()).expect("the server outlives a killed service");
    let service = serve(&home).ready().await;
    let load = Load::mixed(&service, 4).await;
    processes::kill_all(server);
    successor(&home, server).await;
    load.succeeds(100).await;
    load.end().await.expect_bounded(ANSWER_LIMIT);
    assert_eq!(service.stop().await.code, Some(0));
    is_left_alone(&home).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_stops_while_it_brings_its_cluster_back_leaves_none() {
    let home = Home::new();
    for pause in [0, 20, 100] {
        let service = serve(&home).ready().await;
        processes::kill_all(postmaster(&home.data()).expect("a server"));
        // Into the middle of it, wherever that is on this machine.
        tokio::time::sleep(Duration::from_millis(pause)).await;
        assert_eq!(service.stop().await.code, Some(0));
        is_left_alone(&home).await;
    }
}
