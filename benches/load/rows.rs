//! The measurements, in three groups.

mod audit;
mod growth;
mod hashing;
mod logins;
mod overload;
mod reads;
mod registrations;
mod service;

use super::stage::Stage;
use super::table::Table;

/// Makes every measurement that is wanted.
pub(crate) async fn measure(stage: &Stage, table: &mut Table) {
    service::measure(stage, table).await;
    registrations::measure(stage, table).await;
    hashing::measure(stage, table).await;
    logins::measure(stage, table).await;
    audit::measure(stage, table).await;
    overload::measure(stage, table).await;
    reads::measure(stage, table).await;
    growth::measure(stage, table).await;
}
