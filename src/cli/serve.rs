//! `rollcall serve`.

use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, print};
use crate::app::App;
use crate::config::Config;

/// Serves until SIGTERM or SIGINT, then drains. A second signal ends the process at once. With a certificate, SIGHUP has it
/// read again.
pub(super) async fn run(config: Config) -> Result<(), CliError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut signalled = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    // Without a certificate a hangup ends the process, as ever.
    let has_certificate = config.server.https.certificate.is_some();
    let mut hangup = if has_certificate { Some(signal(SignalKind::hangup())?) } else { None };
    let app = tokio::select! {
        app = App::start(config) => app?,
        // Nothing has been accepted yet.
        () = signalled() => return Ok(()),
    };
    let mut hung_up = async || match &mut hangup {
        Some(hangup) => hangup.recv().await,
        None => std::future::pending().await,
    };
    print(&format!("listening on {}://{}", app.scheme(), app.addr()))?;
    loop {
        tokio::select! {
            () = signalled() => break,
            _ = hung_up() => app.reload_certificate(),
        }
    }
    tracing::info!("stopping: accepted requests are answered first");
    tokio::select! {
        () = app.stop() => tracing::info!("stopped"),
        () = signalled() => tracing::warn!("stopped at once"),
    }
    Ok(())
}
