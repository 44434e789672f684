//! The load benchmark: the service under load beside what it is measured against, as one table of ratios.
//!
//! `cargo bench --bench load -- [--quick] [--only NAME]…`, with `PEER=DIRECTORY` of the Python service for the rows that
//! compare with it. `benches/README.md` tells what each row does.

use std::process::ExitCode;

use load::Outcome;
use load::options::Options;
use load::stage::Stage;
use load::table::Table;

mod load {
    pub(crate) mod bare;
    pub(crate) mod closed;
    pub(crate) mod connection;
    pub(crate) mod engine;
    pub(crate) mod machine;
    pub(crate) mod open;
    pub(crate) mod options;
    pub(crate) mod peer;
    pub(crate) mod postgres;
    pub(crate) mod process;
    pub(crate) mod report;
    pub(crate) mod requests;
    pub(crate) mod rows;
    pub(crate) mod service;
    pub(crate) mod stage;
    pub(crate) mod table;
    pub(crate) mod throughput;
    pub(crate) mod tools;
    pub(crate) mod users;

    /// Whatever goes wrong in a measurement is words for its row.
    pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
}

/// The service's allocator, for the bare server that it is compared with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Outcome<ExitCode> {
    if let Some(answer) = load::bare::asked_for() {
        load::bare::serve(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options::read()?;
    // One thread: the load generator must leave the cores to what it measures.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(options))
}

async fn run(options: Options) -> Outcome<ExitCode> {
    let mut table = Table::new(&options);
    let stage = Stage::new(options)?;
    let interrupted = tokio::select! {
        () = load::rows::measure(&stage, &mut table) => false,
        _ = tokio::signal::ctrl_c() => true,
    };
    stage.strike().await;
    println!("{}\n\n{table}", load::machine::describe());
    Ok(if interrupted || table.has_failures() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
