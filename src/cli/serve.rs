//! `rollcall serve`.

use std::io::IsTerminal;
use std::pin::pin;

use tokio::signal::unix::{SignalKind, signal};

use super::CliError;
use crate::app::App;
use crate::config::Config;
use crate::terminal::print;

/// Serves until SIGTERM or SIGINT, then drains. A second signal ends the process at once. SIGHUP reloads the
/// certificate, if there is one, and never ends the process.
pub(super) async fn run(config: Config) -> Result<(), CliError> {
    let database = match &config.database.url {
        Some(_) => "the database of database.url".to_owned(),
        None => format!("a private PostgreSQL cluster in {}", config.data_dir.display()),
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut signalled = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let mut start = pin!(App::start(config));
    let app = tokio::select! {
        app = &mut start => app?,
        () = signalled() => {
            // A start cannot be interrupted: its parts are known only at its end, and stopped then.
            tracing::info!("stopping as soon as the start allows");
            tokio::select! {
                app = start => if let Ok(app) = app { app.stop().await },
                () = signalled() => {}
            }
            return Ok(());
        }
    };
    print(&format!("listening on {}://{}", app.scheme(), app.addr()))?;
    if std::io::stdout().is_terminal() {
        print(&welcome(&app, &database))?;
    }
    loop {
        tokio::select! {
            () = signalled() => break,
            _ = hangup.recv() => if !app.reload_certificate() {
                tracing::info!("SIGHUP: there is no certificate to read again, and nothing else that can change");
            },
        }
    }
    tracing::info!("stopping: accepted requests are answered first");
    tokio::select! {
        () = app.stop() => tracing::info!("stopped"),
        () = signalled() => tracing::warn!("stopped at once"),
    }
    Ok(())
}

/// Further lines for a person at a terminal.
fn welcome(app: &App, database: &str) -> String {
    let mut addr = app.addr();
    if addr.ip().is_unspecified() {
        addr.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    format!("documents on {}://{addr}/docs\ndata in {database}", app.scheme())
}
