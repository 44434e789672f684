//! `rollcall serve`.

use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, print};
use crate::app::App;
use crate::config::Config;

/// Serves until SIGTERM or SIGINT, then drains. A second signal ends the process at once.
pub(super) async fn run(config: Config) -> Result<(), CliError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut signalled = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let app = tokio::select! {
        app = App::start(config) => app?,
        // Nothing has been accepted yet.
        () = signalled() => return Ok(()),
    };
    print(&format!("listening on http://{}", app.addr()))?;
    signalled().await;
    tracing::info!("stopping: accepted requests are answered first");
    tokio::select! {
        () = app.stop() => tracing::info!("stopped"),
        () = signalled() => tracing::warn!("stopped at once"),
    }
    Ok(())
}
