//! An open loop: requests start at a fixed rate, whatever becomes of the earlier ones.
//!
//! A latency counts from when its request was meant to start, so that a generator that is late hides nothing.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::Outcome;
use super::connection::Connection;
use super::report::{End, Report};
use super::requests::Requests;

/// Requests under way at once; one more is a failure.
const UNDER_WAY_MAX: usize = 8192;
/// For the answers that are missing when the last request has started.
const PATIENCE: Duration = Duration::from_mins(1);

/// Starts `rate` requests a second for `window` and waits for their answers.
pub(crate) async fn run(requests: &Requests, rate: f64, window: Duration) -> Outcome<Report> {
    let mut whole = Report::new(window)?;
    for second in by_second(requests, rate, window).await? {
        whole.merge(&second)?;
    }
    Ok(whole)
}

/// The same, with a report of each second's requests.
pub(crate) async fn by_second(requests: &Requests, rate: f64, window: Duration) -> Outcome<Vec<Report>> {
    let (tick, mut ticks) = mpsc::unbounded_channel();
    let started = Instant::now();
    thread::Builder::new().name("pace".to_owned()).spawn(move || pace(started, rate, window, &tick))?;
    let mut reports = Vec::new();
    let mut under_way = JoinSet::new();
    let idle = Idle::default();
    let until = started + window;
    loop {
        tokio::select! {
            due = ticks.recv() => match due {
                Some(due) => {
                    let second = due.duration_since(started).as_secs();
                    if usize::try_from(second)? >= reports.len() {
                        reports.push(Report::new(Duration::from_secs(1))?);
                    }
                    if under_way.len() < UNDER_WAY_MAX {
                        under_way.spawn(send(requests.clone(), idle.clone(), due));
                    } else if let Some(report) = reports.last_mut() {
                        report.add(End::Failed, Duration::ZERO, false);
                    }
                }
                None => break,
            },
            Some(sent) = under_way.join_next() => count(&mut reports, sent?, started, until),
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while let Ok(Some(sent)) = timeout_at(deadline.into(), under_way.join_next()).await {
        count(&mut reports, sent?, started, until);
    }
    if let Some(report) = reports.last_mut() {
        (0..under_way.len()).for_each(|_| report.add(End::Failed, PATIENCE, false));
    }
    Ok(reports)
}

/// Says when a request is due. A thread of its own sleeps with the system's precision; the runtime's timer has 1 ms.
fn pace(started: Instant, rate: f64, window: Duration, tick: &mpsc::UnboundedSender<Instant>) {
    for at in 0_u32.. {
        let after = Duration::from_secs_f64(f64::from(at) / rate);
        if after >= window {
            return;
        }
        let due = started + after;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if tick.send(due).is_err() {
            return;
        }
    }
}

/// Connections that wait for a request, the latest first.
type Idle = Arc<Mutex<Vec<Connection>>>;

#[derive(Clone, Copy)]
struct Sent {
    end: End,
    due: Instant,
    done: Instant,
}

async fn send(requests: Requests, idle: Idle, due: Instant) -> Sent {
    let end = match exchange(&requests, &idle).await {
        Ok(status) => End::of_status(status),
        Err(_) => End::Failed,
    };
    Sent { end, due, done: Instant::now() }
}

async fn exchange(requests: &Requests, idle: &Idle) -> io::Result<u16> {
    let waiting = || idle.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = waiting().pop().filter(Connection::is_open);
    let mut connection = match kept {
        Some(connection) => connection,
        None => Connection::open(requests.addr).await?,
    };
    let status = connection.exchange(requests.next()).await?.status;
    waiting().push(connection);
    Ok(status)
}

fn count(reports: &mut [Report], sent: Sent, started: Instant, until: Instant) {
    let second = usize::try_from(sent.due.duration_since(started).as_secs()).unwrap_or(usize::MAX);
    let Some(report) = reports.get_mut(second) else { return };
    report.add(sent.end, sent.done.saturating_duration_since(sent.due), sent.done <= until);
}
