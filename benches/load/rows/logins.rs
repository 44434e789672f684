//! Logins through HTTP, alone.

use std::time::Duration;

use crate::load::engine::crate_rate;
use crate::load::machine::cores;
use crate::load::requests::Requests;
use crate::load::stage::{STORM, Stage, settle};
use crate::load::table::Target::{AtLeast, AtMost};
use crate::load::table::{Figure, Goal, Table, compare, digits};
use crate::load::{Outcome, closed, open, users};

const STORM_CRATE: Goal = Goal {
    what: "logins/s, cost 12, 64 connections, against cores × the bcrypt crate",
    unit: "×",
    target: AtLeast(3.8),
};
const STORM_PEER: Goal = Goal { what: "the same against the Python service", unit: "×", target: AtLeast(4.5) };
const STEADY_P50: Goal = Goal { what: "30 logins/s offered: p50", unit: " s", target: AtMost(0.6) };
const STEADY_P99: Goal = Goal { what: "30 logins/s offered: p99", unit: " s", target: AtMost(1.2) };

/// Before logins are counted.
const WARMUP: Duration = Duration::from_secs(1);
/// For the Python service to answer all connections once: its threads work on all their logins at the same time.
const PEER_ROUND: Duration = Duration::from_secs(10);
/// Logins offered per second, below what two cores can do.
const STEADY: f64 = 30.0;

pub(super) async fn measure(stage: &Stage, table: &mut Table) {
    table.measure("hashing/storm", [STORM_CRATE, STORM_PEER], async || storm(stage).await).await;
    table.measure("hashing/steady", [STEADY_P50, STEADY_P99], async || steady(stage).await).await;
}

async fn storm(stage: &Stage) -> Outcome<[Figure; 2]> {
    let (logins, window) = (stage.logins().await?, stage.options.seconds(10));
    let all = f64::from(u32::try_from(cores())?);
    let (mut ours, mut crates) = (Vec::new(), Vec::new());
    let mut unserved = String::new();
    for _ in 0..stage.options.rounds(5) {
        let report = closed::run(&logins, STORM, WARMUP, window).await?;
        ours.push(report.rate());
        unserved = report.unserved();
        settle().await;
        crates.push(crate_rate(users::COST, stage.options.seconds(3)).await? * all);
    }
    let against_peer = match peer_storm(stage).await? {
        Some(rate) => compare(&ours, &vec![rate; ours.len()], ""),
        None => Figure::absent("no PEER"),
    };
    Ok([compare(&ours, &crates, "").with(&unserved), against_peer])
}

/// Logins per second of the Python service, where there is one.
async fn peer_storm(stage: &Stage) -> Outcome<Option<f64>> {
    let Some(peer) = stage.peer().await? else { return Ok(None) };
    let logins = Requests::logins(peer.addr, &stage.users().await?.emails, users::PASSWORD);
    let window = stage.options.seconds(24).max(PEER_ROUND);
    let report = closed::run(&logins, STORM, PEER_ROUND, window).await?;
    peer.settle(&logins).await?;
    if report.rate() == 0.0 {
        return Err(format!("the Python service served no login in {} s", window.as_secs()).into());
    }
    Ok(Some(report.rate()))
}

async fn steady(stage: &Stage) -> Outcome<[Figure; 2]> {
    let report = open::run(&stage.logins().await?, STEADY, stage.options.seconds(30)).await?;
    settle().await;
    let note = format!("{} served/s{}", digits(report.rate()), report.unserved());
    Ok([Figure::new(report.quantile(0.5), note.clone()), Figure::new(report.quantile(0.99), note)])
}
