//! Registrations in batches, beside one statement for each.

use std::time::Duration;

use crate::load::requests::Requests;
use crate::load::service::Service;
use crate::load::stage::Stage;
use crate::load::table::Target::AtLeast;
use crate::load::table::{Figure, Goal, Table, compare, digits, median};
use crate::load::{Outcome, closed};

const BATCHED: Goal = Goal {
    what: "registrations/s at cost 4, 64 connections, against one INSERT per statement",
    unit: "×",
    target: AtLeast(2.0),
};

const CONNECTIONS: usize = 64;
/// More than any machine registers in a second.
const PER_SECOND: u64 = 25_000;
const WARMUP: Duration = Duration::from_millis(500);

pub(super) async fn measure(stage: &Stage, table: &mut Table) {
    table.measure("service/registrations", [BATCHED], async || Ok([batched(stage).await?])).await;
}

async fn batched(stage: &Stage) -> Outcome<Figure> {
    let url = stage.new_database(stage.postgres().await?, "registrations").await?;
    let start = async |batch_max| {
        let own = [("ROLLCALL__HASHING__COST", "4"), ("ROLLCALL__DATABASE__BATCH_MAX", batch_max)];
        Service::start_with(&stage.dir("service")?, Some(&url), &own).await
    };
    let (batching, single) = (start("256").await?, start("1").await?);
    let window = stage.options.seconds(5);
    let (mut ours, mut theirs, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..stage.options.rounds(3) {
        theirs.push(rate(&single, &format!("single{round}."), window).await?);
        let before = batching.metrics().await?;
        ours.push(rate(&batching, &format!("batch{round}."), window).await?);
        let after = batching.metrics().await?;
        sizes.push(after.mean_since(&before, "rollcall_db_batch_size", r#"{statement="insert"}"#));
    }
    batching.process.stop().await?;
    single.process.stop().await?;
    Ok(compare(&ours, &theirs, "").with(&format!(", {} rows per statement", digits(median(sizes)))))
}

async fn rate(service: &Service, prefix: &str, window: Duration) -> Outcome<f64> {
    let count = usize::try_from(PER_SECOND * (window + WARMUP).as_secs())?;
    let requests = Requests::registrations(service.addr, prefix, count);
    let report = closed::run(&requests, CONNECTIONS, WARMUP, window).await?;
    match report.unserved() {
        words if words.is_empty() => Ok(report.rate()),
        words => Err(format!("of the registrations{words}").into()),
    }
}
