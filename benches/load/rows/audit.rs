//! What the audit log costs a login.

use std::time::Duration;

use crate::load::requests::Requests;
use crate::load::service::Service;
use crate::load::stage::{STORM, Stage, settle};
use crate::load::table::Target::AtLeast;
use crate::load::table::{Figure, Goal, Table, compare};
use crate::load::users::PASSWORD;
use crate::load::{Outcome, closed};

const LOGGED: Goal =
    Goal { what: "logins/s, cost 12, with the audit log against without", unit: "×", target: AtLeast(0.95) };

/// In the place of the function that every event of a login goes through.
const SILENCE: &str =
    "CREATE OR REPLACE FUNCTION audit_append(kind TEXT, user_id UUID, email TEXT, source TEXT, detail JSONB)
    RETURNS void LANGUAGE sql AS ''";
const WARMUP: Duration = Duration::from_secs(1);

pub(super) async fn measure(stage: &Stage, table: &mut Table) {
    table.measure("hashing/audit", [LOGGED], async || Ok([logged(stage).await?])).await;
}

async fn logged(stage: &Stage) -> Outcome<Figure> {
    let (with, without) = (side(stage, "audited", "").await?, side(stage, "unaudited", SILENCE).await?);
    let window = stage.options.seconds(10);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..stage.options.rounds(5) {
        for (service, rates) in [(&without, &mut theirs), (&with, &mut ours)] {
            let logins = Requests::logins(service.addr, &stage.users().await?.emails, PASSWORD);
            rates.push(closed::run(&logins, STORM, WARMUP, window).await?.rate());
            settle().await;
        }
    }
    with.process.stop().await?;
    without.process.stop().await?;
    Ok(compare(&ours, &theirs, ""))
}

/// A service on a database of its own, after `sql`, with the rules of attempts in force, as they are in service.
async fn side(stage: &Stage, name: &str, sql: &str) -> Outcome<Service> {
    let server = stage.postgres().await?;
    let url = stage.new_database(server, name).await?;
    let client = server.connect(name).await?;
    stage.users().await?.insert(&client).await?;
    client.batch_execute(sql).await?;
    let own = [("ROLLCALL__LIMITS__ENABLED", "true"), ("ROLLCALL__LIMITS__LOGIN_PER_MINUTE", "0")];
    Service::start_with(&stage.dir("service")?, Some(&url), &own).await
}
