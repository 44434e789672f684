//! The command line.

mod capacity;
mod check;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing::Level;

use crate::app::{AppError, features};
use crate::config::{Config, ConfigError, DEFAULTS, reference};
use crate::database::{Database, DatabaseError, migrations};
use crate::features::{audit, schema, tokens};
use crate::telemetry::{self, TelemetryError};
use crate::terminal::{TerminalError, print};

/// User registration and authentication over HTTP.
///
/// Without a command it serves. Without DATABASE_URL it runs a private PostgreSQL cluster of its own.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
pub struct Cli {
    /// TOML file over the defaults; the environment goes over both
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Serve the API until SIGTERM or SIGINT (the default)
    Serve,
    /// Bring the database's schema up to date
    Migrate,
    /// Print the OpenAPI document
    Openapi,
    /// Check the configuration, the database, Redis and the hash kernel, and measure the hash capacity
    Check,
    /// Measure hashes/s and latency by lanes, engines and cost, plot them, and advise on the cost
    Capacity(capacity::Arguments),
    /// Manage signing keys
    #[command(subcommand)]
    Keys(tokens::cli::Command),
    /// Verify, print and prune the audit log
    #[command(subcommand)]
    Audit(audit::cli::Command),
    /// Print every configuration key with its default
    Defaults {
        /// Print a Markdown document instead, with what each key accepts and means
        #[arg(long)]
        markdown: bool,
    },
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Keys(#[from] tokens::cli::KeysError),
    #[error(transparent)]
    Audit(#[from] audit::cli::CommandError),
    #[error("{0}")]
    Check(Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Terminal(#[from] TerminalError),
    #[error("the document cannot be written: {0}")]
    Output(String),
    #[error("the runtime does not start: {0}")]
    Runtime(#[from] std::io::Error),
}

/// Runs the command that the arguments name. Wrong usage ends the process with 2, before this returns.
#[must_use]
pub fn run() -> ExitCode {
    match Cli::parse().execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rollcall: {}", error.to_string().replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    fn execute(self) -> Result<(), CliError> {
        match self.command.unwrap_or(Command::Serve) {
            Command::Openapi => Ok(print(&features::openapi_json()?)?),
            Command::Defaults { markdown } => {
                // A given file that cannot be read is an error here, too.
                self.config.as_deref().map(|file| Config::load(Some(file))).transpose()?;
                Ok(if markdown { print(&reference()?) } else { print(DEFAULTS.trim_end()) }?)
            }
            Command::Capacity(arguments) => capacity::run(&Config::load(self.config.as_deref())?, &arguments),
            command => {
                let config = Config::load(self.config.as_deref())?;
                // Log lines should not drown the answer of another command.
                let usual = if matches!(command, Command::Serve) { Level::INFO } else { Level::WARN };
                let _log = telemetry::start_logging(&config.telemetry, usual)?;
                if !config.of_dot_env.is_empty() {
                    tracing::info!(keys = config.of_dot_env.join(", "), "set by .env in the working directory");
                }
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
                runtime.block_on(async {
                    match command {
                        Command::Migrate => migrate(&config).await,
                        Command::Check => check::run(&config).await,
                        Command::Keys(command) => Ok(tokens::cli::run(&config, &command).await?),
                        Command::Audit(command) => Ok(audit::cli::run(&config, &command).await?),
                        _ => serve::run(config).await,
                    }
                })
            }
        }
    }
}

async fn migrate(config: &Config) -> Result<(), CliError> {
    let database = Database::open(&config.database, &config.data_dir).await?;
    let schema = schema();
    let outcome = schema.run(&database.pool).await;
    database.close().await;
    let outcome = outcome.map_err(DatabaseError::from)?;
    let latest = schema.latest();
    let answer = match outcome {
        migrations::Outcome::UpToDate => format!("the schema is at version {latest} already"),
        migrations::Outcome::Adopted => format!("the existing users are adopted, the schema is at version {latest}"),
        migrations::Outcome::Migrated { from } => format!("the schema is at version {latest}, it was at {from}"),
    };
    Ok(print(&answer)?)
}
