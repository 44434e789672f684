//! A storm of logins, and what it does to everything else.

use std::time::Duration;

use rollcall::config::Config;

use crate::load::report::Report;
use crate::load::stage::{STORM, Stage, settle};
use crate::load::table::Target::{AtLeast, AtMost};
use crate::load::table::{Figure, Goal, Table, compare, digits, median};
use crate::load::{Outcome, closed, open};

const FIXED_P99: Goal =
    Goal { what: "2,000 profiles/s offered while logins saturate: p99 of a second", unit: " ms", target: AtMost(5.0) };
const FIXED_KEPT: Goal =
    Goal { what: "logins/s kept meanwhile, of the storm alone", unit: " %", target: AtLeast(85.0) };
const BUSY: Goal = Goal {
    what: "profiles/s, 8 busy connections, while logins saturate, against without",
    unit: "×",
    target: AtLeast(0.8),
};
const BUSY_LOGINS: Goal =
    Goal { what: "logins/s served meanwhile, of the storm alone", unit: " %", target: AtLeast(4.0) };
const GOODPUT: Goal =
    Goal { what: "logins offered at 10 × capacity: served, of capacity", unit: " %", target: AtLeast(90.0) };
const REFUSALS: Goal = Goal { what: "refusals meanwhile: p99", unit: " ms", target: AtMost(50.0) };
const LATEST: Goal = Goal {
    what: "longest accepted login meanwhile, against hashing.max_wait_ms and one hash",
    unit: "×",
    target: AtMost(1.0),
};
const FLAT: Goal =
    Goal { what: "memory at the end of it, against after its first third", unit: "×", target: AtMost(1.1) };

const WARMUP: Duration = Duration::from_secs(1);
/// Profiles offered per second.
const FIXED: f64 = 2000.0;
/// Connections that are never idle.
const BUSY_CONNECTIONS: usize = 8;

pub(super) async fn measure(stage: &Stage, table: &mut Table) {
    table.measure("hashing/fixed-profiles", [FIXED_P99, FIXED_KEPT], async || fixed(stage).await).await;
    table.measure("hashing/busy-profiles", [BUSY, BUSY_LOGINS], async || busy(stage).await).await;
    let goals = [GOODPUT, REFUSALS, LATEST, FLAT];
    table.measure("hashing/overload", goals, async || overload(stage).await).await;
}

async fn fixed(stage: &Stage) -> Outcome<[Figure; 2]> {
    let (logins, profiles) = (stage.logins().await?, stage.profiles().await?);
    let window = stage.options.seconds(16);
    let (mut with, mut without, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..stage.options.rounds(2) {
        let alone = closed::run(&logins, STORM, WARMUP, window).await?;
        settle().await;
        without.extend(p99s(&open::by_second(&profiles, FIXED, stage.options.seconds(8)).await?));
        let (storm, reads) = tokio::try_join!(
            closed::run(&logins, STORM, WARMUP, window),
            open::by_second(&profiles, FIXED, WARMUP + window)
        )?;
        settle().await;
        with.extend(p99s(&reads));
        kept.push(storm.rate() / alone.rate() * 100.0);
    }
    let worst = with.iter().copied().fold(0.0, f64::max);
    let note = format!("{} ms without; {} ms in the worst second", digits(median(without)), digits(worst));
    Ok([Figure::new(median(with), note), Figure::new(median(kept), "")])
}

/// In milliseconds.
fn p99s(seconds: &[Report]) -> impl Iterator<Item = f64> {
    seconds.iter().map(|second| second.quantile(0.99) * 1e3)
}

async fn busy(stage: &Stage) -> Outcome<[Figure; 2]> {
    let (logins, profiles) = (stage.logins().await?, stage.profiles().await?);
    let (window, capacity) = (stage.options.seconds(16), stage.capacity().await?);
    let (mut with, mut without, mut served) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..stage.options.rounds(2) {
        without.push(closed::run(&profiles, BUSY_CONNECTIONS, WARMUP, window).await?.rate());
        let (storm, reads) = tokio::try_join!(
            closed::run(&logins, STORM, WARMUP, window),
            closed::run(&profiles, BUSY_CONNECTIONS, WARMUP, window)
        )?;
        settle().await;
        with.push(reads.rate());
        served.push(storm.rate());
    }
    let share = median(served.clone()) / capacity * 100.0;
    Ok([
        compare(&with, &without, ""),
        Figure::new(share, format!("{} of {}", digits(median(served)), digits(capacity))),
    ])
}

async fn overload(stage: &Stage) -> Outcome<[Figure; 4]> {
    let (service, logins) = (stage.service().await?, stage.logins().await?);
    let (capacity, window) = (stage.capacity().await?, stage.options.seconds(30));
    let before = service.metrics().await?;
    let early = async {
        tokio::time::sleep(window / 3).await;
        service.process.memory()
    };
    let late = async {
        tokio::time::sleep(window).await;
        service.process.memory()
    };
    let (report, early, late) = tokio::try_join!(open::run(&logins, 10.0 * capacity, window), early, late)?;
    let after = service.metrics().await?;
    settle().await;
    let hash = after.mean_since(&before, "rollcall_hash_duration_seconds", "");
    let limit = Config::with(&[])?.hashing.max_wait.as_secs_f64() + hash;
    let goodput = format!("{} of {} offered/s{}", digits(report.rate()), digits(10.0 * capacity), report.unserved());
    Ok([
        Figure::new(report.rate() / capacity * 100.0, goodput),
        Figure::new(report.refused_quantile(0.99) * 1e3, ""),
        Figure::new(report.longest() / limit, format!("{} s to {} s", digits(report.longest()), digits(limit))),
        Figure::new(late / early, format!("{} MB to {} MB", digits(late / 1e6), digits(early / 1e6))),
    ])
}
