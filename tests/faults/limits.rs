//! The database has no connection, or no room, to give: what needs it is refused, what does not goes on.

use std::fs;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::harness::{ANSWER_LIMIT, Home, Load, Server, Step, serve_on, skip, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_others_have_used_up_are_503_until_they_are_free() {
    let (home, server) = (Home::new(), Server::start("max_connections = 12\nsuperuser_reserved_connections = 3").await);
    let service = serve_on(&home, &server).ready().await;
    let load = Load::mixed(&service, 8).await;
    load.succeeds(200).await;
    let others = server.use_up_connections("rollcall").await;
    load.is_refused(200).await;
    drop(others);
    let free = Instant::now() + Duration::from_secs(1);
    tokio::time::sleep_until(free.into()).await;
    load.succeeds(200).await;
    let report = load.end().await;
    report.expect_bounded(ANSWER_LIMIT).expect_refusals().expect_service_since(free).expect_kept_by(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_what_has_to_be_written_and_nothing_else() {
    let Some(server) = Server::on_small_disk().await else {
        // The next test is all there is.
        return skip("only root may mount a disk that fills up");
    };
    // A login is recorded, or not let in.
    let written = [Step::Register, Step::Login];
    refuses(&written, &server, async || server.fill_disk(), async |filler| fs::remove_file(filler).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_may_not_grow_refuses_registrations_and_nothing_else() {
    let server = Server::with_small_files().await;
    let rows = "INSERT INTO users (name, email, password_hash)
        SELECT 'Filler', gen_random_uuid() || '@filler.example.com', repeat('x', 60) FROM generate_series(1, 500)";
    let fill = async || {
        let admin = server.admin().await;
        until("a full table", async || admin.batch_execute(rows).await.is_err()).await;
        admin
    };
    let free = async |admin: Client| {
        admin.batch_execute("DELETE FROM users WHERE name = 'Filler'").await.unwrap();
        // A row that somebody's snapshot still shows is left for the next time.
        until("room in the table", async || {
            admin.batch_execute("VACUUM users").await.unwrap();
            admin.batch_execute(rows).await.is_ok()
        })
        .await;
    };
    refuses(&[Step::Register], &server, fill, free).await;
}

async fn refuses<T>(steps: &[Step], server: &Server, fill: impl AsyncFnOnce() -> T, free: impl AsyncFnOnce(T)) {
    let home = Home::new();
    let service = serve_on(&home, server).ready().await;
    let load = Load::mixed(&service, 8).await;
    load.succeeds(200).await;
    let filled = fill().await;
    load.is_refused(100).await;
    free(filled).await;
    let freed = Instant::now();
    load.succeeds(200).await;
    let report = load.end().await;
    report.expect_bounded(ANSWER_LIMIT).expect_refusals_of(steps).expect_service_since(freed);
    report.expect_kept_by(server).await;
}
