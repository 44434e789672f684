//! What the service costs before it does anything, and how it compares with the one it replaces.

use tokio::time::{Duration, sleep};

use crate::load::connection::Connection;
use crate::load::service::{PROGRAM, Service};
use crate::load::stage::Stage;
use crate::load::table::Target::{AtLeast, AtMost};
use crate::load::table::{Figure, Goal, Table, compare, median};
use crate::load::{Outcome, throughput};

const IDLE_MEMORY: Goal = Goal { what: "idle memory of the service", unit: " MB", target: AtMost(25.0) };
const START: Goal = Goal { what: "start, on a running PostgreSQL", unit: " ms", target: AtMost(150.0) };
const FIRST_START: Goal = Goal { what: "start, with a cluster to make", unit: " s", target: AtMost(3.0) };
const BINARY: Goal = Goal { what: "release binary", unit: " MB", target: AtMost(25.0) };
const PROFILES: Goal =
    Goal { what: "profiles/s, 32 connections, against the Python service", unit: "×", target: AtLeast(40.0) };

const MEGABYTE: f64 = 1e6;
/// From the first request until memory is read.
const IDLE: Duration = Duration::from_secs(2);

pub(super) async fn measure(stage: &Stage, table: &mut Table) {
    table.measure("service/memory", [IDLE_MEMORY], async || Ok([idle_memory(stage).await?])).await;
    table.measure("service/start", [START], async || Ok([start(stage).await?])).await;
    table.measure("service/first-start", [FIRST_START], async || Ok([first_start(stage).await?])).await;
    table.measure("service/binary", [BINARY], async || Ok([binary()?])).await;
    table.measure("service/profiles", [PROFILES], async || Ok([profiles(stage).await?])).await;
}

/// Of one that has answered a request, so that what it makes at its first use is there.
async fn idle_memory(stage: &Stage) -> Outcome<Figure> {
    let service = stage.new_service().await?;
    let mut connection = Connection::open(service.addr).await?;
    connection.exchange(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    sleep(IDLE).await;
    let memory = service.process.memory()?;
    service.process.stop().await?;
    Ok(Figure::new(memory / MEGABYTE, "resident"))
}

async fn start(stage: &Stage) -> Outcome<Figure> {
    let mut times = Vec::new();
    for _ in 0..stage.options.rounds(9) {
        let service = stage.new_service().await?;
        times.push(service.start_time.as_secs_f64() * 1e3);
        service.process.stop().await?;
    }
    Ok(median_of(times))
}

async fn first_start(stage: &Stage) -> Outcome<Figure> {
    let mut times = Vec::new();
    for round in 0..stage.options.rounds(3) {
        let service = Service::start(&stage.dir(&format!("first-{round}"))?, None).await?;
        times.push(service.start_time.as_secs_f64());
        service.process.stop().await?;
    }
    Ok(median_of(times))
}

fn median_of(times: Vec<f64>) -> Figure {
    let note = format!("median of {}", times.len());
    Figure::new(median(times), note)
}

fn binary() -> Outcome<Figure> {
    let bytes = u32::try_from(std::fs::metadata(PROGRAM)?.len())?;
    Ok(Figure::new(f64::from(bytes) / MEGABYTE, ""))
}

async fn profiles(stage: &Stage) -> Outcome<Figure> {
    let Some(peer) = stage.peer().await? else { return Ok(Figure::absent("no PEER")) };
    let (service, dir) = (stage.service().await?.addr, stage.dir("wrk")?);
    let tokens = stage.users().await?.tokens.get(..1).unwrap_or_default();
    let window = stage.options.seconds(5);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..stage.options.rounds(3) {
        theirs.push(throughput::profiles(peer.addr, tokens, 32, window, &dir).await?);
        ours.push(throughput::profiles(service, tokens, 32, window, &dir).await?);
    }
    Ok(compare(&ours, &theirs, "").with(", ").with(throughput::generator()))
}
