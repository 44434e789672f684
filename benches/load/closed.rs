//! A closed loop: each of N connections sends its next request when it has the answer to the last.

use std::io;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::Outcome;
use super::connection::Connection;
use super::report::{End, Report};
use super::requests::Requests;

/// After a refusal or a broken connection; without it a loop would measure how fast it is turned away.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs `connections` loops for `warmup`, which does not count, and `window`.
pub(crate) async fn run(
    requests: &Requests,
    connections: usize,
    warmup: Duration,
    window: Duration,
) -> Outcome<Report> {
    let from = Instant::now() + warmup;
    let mut loops = JoinSet::new();
    for _ in 0..connections {
        let (requests, mut report) = (requests.clone(), Report::new(window)?);
        loops.spawn(async move {
            // What is under way at the end is left unanswered.
            let _ = timeout_at(from + window, repeat(&requests, from, &mut report)).await;
            report
        });
    }
    let mut report = Report::new(window)?;
    while let Some(one) = loops.join_next().await {
        report.merge(&one?)?;
    }
    Ok(report)
}

async fn repeat(requests: &Requests, from: Instant, report: &mut Report) {
    let mut connection = None;
    loop {
        let started = Instant::now();
        let end = once(&mut connection, requests).await.map_or(End::Failed, End::of_status);
        if end == End::Failed {
            connection = None;
        }
        if Instant::now() >= from {
            report.add(end, started.elapsed(), true);
        }
        if end != End::Served {
            sleep(PAUSE).await;
        }
    }
}

async fn once(connection: &mut Option<Connection>, requests: &Requests) -> io::Result<u16> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(requests.addr).await?),
    };
    Ok(open.exchange(requests.next()).await?.status)
}
