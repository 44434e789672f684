//! The hash engine by itself, beside other implementations on one thread.

use std::time::Duration;

use crate::load::engine::{Engine, crate_alone, crate_rate};
use crate::load::stage::{Stage, settle};
use crate::load::table::Target::{AtLeast, AtMost};
use crate::load::table::{Figure, Goal, Table, compare};
use crate::load::tools::{self, JOHN_COST};
use crate::load::{Outcome, users};

const COST_10: Goal =
    Goal { what: "hashes/s of one engine, cost 10, against the bcrypt crate", unit: "×", target: AtLeast(4.0) };
const COST_12: Goal = Goal { what: "the same, cost 12", ..COST_10 };
const JOHN: Goal = Goal {
    what: "hashes/s of one engine, cost 12, against John the Ripper on one thread",
    unit: "×",
    target: AtLeast(1.3),
};
const ALONE: Goal =
    Goal { what: "time of a lone hash, cost 12, against the bcrypt crate", unit: "×", target: AtMost(1.0) };

pub(super) async fn measure(stage: &Stage, table: &mut Table) {
    table.measure("hashing/cost-10", [COST_10], async || Ok([saturated(stage, 10, 3).await?])).await;
    table.measure("hashing/cost-12", [COST_12], async || Ok([saturated(stage, 12, 4).await?])).await;
    table.measure("hashing/john", [JOHN], async || Ok([john(stage).await?])).await;
    table.measure("hashing/alone", [ALONE], async || Ok([alone(stage).await?])).await;
}

async fn saturated(stage: &Stage, cost: u32, seconds: u64) -> Outcome<Figure> {
    let window = stage.options.seconds(seconds);
    in_turns(stage, cost, window, async || crate_rate(cost, window).await).await
}

async fn john(stage: &Stage) -> Outcome<Figure> {
    let Some(program) = tools::find("john") else { return Ok(Figure::absent("no john")) };
    let window = stage.options.seconds(5);
    // Twice the rounds take twice the time.
    let scale = f64::from(users::COST.cast_signed() - JOHN_COST).exp2();
    in_turns(stage, users::COST, window, async || Ok(tools::john(&program, window).await? / scale)).await
}

/// The engine's rate against another's, in turns.
async fn in_turns(
    stage: &Stage,
    cost: u32,
    window: Duration,
    other: impl AsyncFn() -> Outcome<f64>,
) -> Outcome<Figure> {
    let engine = Engine::start()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..stage.options.rounds(5) {
        theirs.push(other().await?);
        ours.push(engine.rate(cost, window).await?);
        settle().await;
    }
    Ok(compare(&ours, &theirs, ""))
}

async fn alone(stage: &Stage) -> Outcome<Figure> {
    let engine = Engine::start()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..stage.options.rounds(9) {
        theirs.push(crate_alone(users::COST).await? * 1e3);
        ours.push(engine.alone(users::COST).await? * 1e3);
    }
    Ok(compare(&ours, &theirs, " ms"))
}
