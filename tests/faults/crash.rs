//! The service dies: whoever was told to be registered is.

use std::collections::BTreeSet;

use crate::harness::{Home, Load, Server, serve_on};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_registration_is_lost_when_the_service_is_killed() {
    let (home, server) = (Home::new(), Server::start("").await);
    let mut acknowledged = BTreeSet::new();
    for round in 1..=5 {
        let service = serve_on(&home, &server).ready().await;
        let load = Load::registrations(&service, 16);
        // Not at the same point every time.
        load.succeeds(150 + 70 * round).await;
        service.kill().await;
        let report = load.end().await;
        report.expect_no_wrong_answer().expect_kept_by(&server).await;
        assert!(report.was_cut_off(), "nobody was waiting for an answer");
        acknowledged.extend(report.acknowledged().iter().cloned());
    }
    let stored = server.emails().await;
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "lost after a later round: {lost:?}");
    let service = serve_on(&home, &server).ready().await;
    for email in [acknowledged.first(), acknowledged.last()] {
        service.login(email.unwrap(), crate::harness::PASSWORD).await.expect_json(200);
    }
}
