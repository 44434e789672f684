//! Profile requests, beside servers that do less.

use std::time::Duration;

use crate::load::closed;
use crate::load::connection::Connection;
use crate::load::postgres::{ROLLCALL, USER};
use crate::load::requests::Requests;
use crate::load::stage::{Stage, settle};
use crate::load::table::Target::{AtLeast, AtMost};
use crate::load::table::{Figure, Goal, Table, compare, digits, median};
use crate::load::{Outcome, throughput, tools, users};

const BARE: Goal = Goal {
    what: "profiles/s of 5,000 users, 64 connections, against a bare hyper server",
    unit: "×",
    target: AtLeast(0.4),
};
const PGBENCH: Goal =
    Goal { what: "the same against pgbench reading one row, 8 clients", unit: "×", target: AtLeast(0.9) };
const PEER: Goal = Goal { what: "the same against the Python service", unit: "×", target: AtLeast(90.0) };
const BATCH: Goal = Goal { what: "lookups per statement meanwhile", unit: "", target: AtLeast(8.0) };
const ALONE: Goal =
    Goal { what: "p50 of one connection alone, against the bare server", unit: "×", target: AtMost(4.0) };
const IDLE: Goal = Goal { what: "memory with 10,000 idle keep-alive connections", unit: " MB", target: AtMost(120.0) };

const CONNECTIONS: usize = 64;
/// As many clients as read a row for pgbench.
const CLIENTS: usize = 8;
const IDLE_CONNECTIONS: usize = 10_000;
const WARMUP: Duration = Duration::from_millis(500);

pub(super) async fn measure(stage: &Stage, table: &mut Table) {
    table.measure("reads/throughput", [BARE, PGBENCH, PEER, BATCH], async || throughput(stage).await).await;
    table.measure("reads/alone", [ALONE], async || Ok([alone(stage).await?])).await;
    table.measure("reads/idle", [IDLE], async || Ok([idle(stage).await?])).await;
}

async fn throughput(stage: &Stage) -> Outcome<[Figure; 4]> {
    let (service, bare, peer) = (stage.service().await?, stage.bare().await?, stage.peer().await?);
    let (dir, window) = (stage.dir("wrk")?, stage.options.seconds(5));
    let tokens = &stage.users().await?.tokens;
    let (mut ours, mut bares, mut rows, mut theirs, mut batches) = (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..stage.options.rounds(3) {
        let before = service.metrics().await?;
        ours.push(throughput::profiles(service.addr, tokens, CONNECTIONS, window, &dir).await?);
        let after = service.metrics().await?;
        batches.push(after.mean_since(&before, "rollcall_db_batch_size", r#"{statement="find_by_id"}"#));
        bares.push(throughput::profiles(bare.addr, tokens, CONNECTIONS, window, &dir).await?);
        rows.extend(read_rows(stage, window).await?);
        if let Some(peer) = peer {
            theirs.push(throughput::profiles(peer.addr, tokens, CONNECTIONS, window, &dir).await?);
        }
    }
    let against = |others: Vec<f64>, absent| {
        if others.is_empty() {
            return Figure::absent(absent);
        }
        compare(&ours, &others, "").with(", ").with(throughput::generator())
    };
    Ok([
        against(bares, "no bare server"),
        against(rows, "no pgbench"),
        against(theirs, "no PEER"),
        Figure::new(median(batches), "median of the rounds' means"),
    ])
}

/// Rows per second that pgbench reads by index, where it is installed.
async fn read_rows(stage: &Stage, window: Duration) -> Outcome<Option<f64>> {
    let Some(program) = tools::find("pgbench") else { return Ok(None) };
    let postgres = stage.postgres().await?;
    // pgbench can't draw a UUID at random without work for the server, so its rows have a number for a key.
    let copy = "CREATE TABLE IF NOT EXISTS numbered AS
            SELECT substring(name FROM 6)::int AS number, user_id, name, email, created_at FROM users;
        CREATE UNIQUE INDEX IF NOT EXISTS numbered_key ON numbered (number);
        ANALYZE numbered";
    postgres.connect(ROLLCALL).await?.batch_execute(copy).await?;
    let script = stage.dir("pgbench")?.join("read.sql");
    let read = format!(
        "\\set n random(1, {})\nSELECT user_id, name, email, created_at FROM numbered WHERE number = :n;\n",
        users::COUNT
    );
    std::fs::write(&script, read)?;
    let place = postgres.socket_dir();
    tools::pgbench(&program, place, (USER, ROLLCALL), &script, CLIENTS, window).await.map(Some)
}

async fn alone(stage: &Stage) -> Outcome<Figure> {
    let (profiles, bare) = (stage.profiles().await?, stage.bare().await?);
    let bare = Requests::profiles(bare.addr, &stage.users().await?.tokens);
    let window = stage.options.seconds(3);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..stage.options.rounds(3) {
        ours.push(closed::run(&profiles, 1, WARMUP, window).await?.quantile(0.5) * 1e6);
        theirs.push(closed::run(&bare, 1, WARMUP, window).await?.quantile(0.5) * 1e6);
    }
    Ok(compare(&ours, &theirs, " µs"))
}

/// Of a service that nothing else has used; each connection has had one answer.
async fn idle(stage: &Stage) -> Outcome<Figure> {
    let service = stage.new_service().await?;
    let profiles = Requests::profiles(service.addr, &stage.users().await?.tokens);
    let before = service.process.memory()?;
    let mut connections = Vec::with_capacity(IDLE_CONNECTIONS);
    for _ in 0..IDLE_CONNECTIONS {
        let mut connection = Connection::open(service.addr).await?;
        connection.exchange(profiles.next()).await?;
        connections.push(connection);
    }
    settle().await;
    let open = service.metrics().await?.value("rollcall_http_connections");
    let memory = service.process.memory()?;
    drop(connections);
    service.process.stop().await?;
    if open < f64::from(u32::try_from(IDLE_CONNECTIONS)?) {
        return Err(format!("only {open} connections stayed open").into());
    }
    Ok(Figure::new(memory / 1e6, format!("{} MB without", digits(before / 1e6))))
}
