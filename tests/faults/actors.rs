//! The actors die, again and again, for a minute: whoever waits is told so in time, and all is well after.

use std::time::{Duration, Instant};

use rollcall::app::App;
use rollcall::config::Config;

use crate::harness::{ANSWER_LIMIT, Api, DATABASE_TIMEOUT, Load, SECRET, Server, soon, until};

/// How long actors are being killed.
const DURATION: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_that_die_at_random_for_a_minute_leave_nobody_without_an_answer() {
    let server = Server::start("").await;
    let app = start(&server).await;
    let load = Load::mixed(&Api::new(app.addr()), 8).await;
    let (end, mut deaths) = (Instant::now() + DURATION, [0_u32; 4]);
    while Instant::now() < end {
        // Sometimes the next one dies before anybody is served again, and sometimes all is well in between.
        let (which, pause) = (random(4), random(250));
        let cell = cells(&app)[which].clone();
        cell.kill();
        deaths[which] += 1;
        tokio::time::sleep(Duration::from_millis(u64::try_from(pause).unwrap())).await;
    }
    until("every actor's last successor", async || {
        cells(&app).iter().all(|cell| cell.get_status() == ractor::ActorStatus::Running)
    })
    .await;
    let well = Instant::now();
    load.succeeds(500).await;
    let report = load.end().await;
    assert!(deaths.iter().all(|deaths| *deaths > 50), "{deaths:?}");
    report.expect_bounded(ANSWER_LIMIT).expect_refusals().expect_service_since(well).expect_kept_by(&server).await;
    soon("a stop", app.stop()).await;
}

fn cells(app: &App) -> [ractor::ActorCell; 4] {
    let handles = app.handles();
    [handles.users.cell(), handles.attempts.cell(), handles.hasher.cell(), handles.tokens.cell()].map(Option::unwrap)
}

/// The service in this process, where its actors can be reached.
async fn start(server: &Server) -> App {
    let (url, timeout) = (server.url(), DATABASE_TIMEOUT.as_millis().to_string());
    let config = Config::with(&[
        ("server.host", "127.0.0.1"),
        ("server.port", "0"),
        ("database.url", url.as_str()),
        ("database.timeout_ms", timeout.as_str()),
        ("hashing.cost", "4"),
        ("hashing.engines", "1"),
        ("hashing.lanes", "2"),
        ("tokens.secret", SECRET),
        // All load comes from one address.
        ("limits.register_per_minute", "0"),
        ("limits.login_per_minute", "0"),
        ("limits.profile_per_second", "0"),
        ("telemetry.admin_addr", "off"),
    ]);
    soon("a start", Box::pin(App::start(config.unwrap()))).await.unwrap()
}

/// A number below `end`.
fn random(end: usize) -> usize {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).unwrap();
    usize::try_from(u32::from_ne_bytes(bytes)).unwrap() % end
}
