//! The service is told to stop at any moment of its start: nothing of it is left, and the next start finds all in order.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::scratch::postmaster;
use crate::harness::{Home, processes};

/// Moments of a start, spread evenly over the time that one takes here.
const MOMENTS: u32 = 100;

fn serve(home: &Home) -> crate::harness::Start {
    home.serve().env("ROLLCALL__TELEMETRY__LOG_FILTER", "warn")
}

/// No server, no initdb, nothing that works in the data directory.
fn is_left_alone(home: &Home) -> bool {
    let Ok(data) = home.data().canonicalize() else { return true };
    let dirs = [data.clone(), data.join("postgres"), data.join("postgres.new")];
    postmaster(&data).is_none() && dirs.iter().all(|dir| processes::working_in(dir).is_empty())
}

/// Starts the service in `home` and tells it to stop `moment` later.
async fn start_and_stop(home: &Home, moment: Duration) {
    let program = serve(home).spawn();
    tokio::time::sleep(moment).await;
    program.signal(Signal::TERM);
    let exit = program.exit().await;
    // Before it has asked for its signals it has started nothing either, and ends like any other program.
    assert!(exit.code == Some(0) || exit.signal == Some(15), "after {moment:?}: {exit:?}");
    assert!(is_left_alone(home), "after {moment:?}: {exit:?}");
}

async fn duration_of_a_start(home: &Home) -> Duration {
    let began = Instant::now();
    let service = serve(home).ready().await;
    let took = began.elapsed();
    service.stop().await;
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_that_is_stopped_at_any_moment_leaves_nothing_behind() {
    let whole = duration_of_a_start(&Home::new()).await;
    for moment in 0..MOMENTS {
        let home = Home::new();
        start_and_stop(&home, whole * moment / MOMENTS).await;
        // Of some, that the next start makes do with what is there.
        if moment % 10 == 5 {
            serve(&home).ready().await.stop().await;
            assert!(is_left_alone(&home));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_that_is_stopped_at_any_moment_leaves_nothing_behind() {
    let home = Home::new();
    duration_of_a_start(&home).await;
    let whole = duration_of_a_start(&home).await;
    for moment in 0..MOMENTS {
        start_and_stop(&home, whole * moment / MOMENTS).await;
    }
    let service = serve(&home).ready().await;
    service.register_email("john.doe@example.com").await.expect_json(201);
    service.stop().await;
}
