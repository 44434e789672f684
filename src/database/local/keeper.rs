//! Restarts a private cluster's server when it ends while the service runs.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use super::server::{ClusterDir, Server};
use super::{LocalError, START_TIMEOUT};
use crate::telemetry::Counter;

/// Pause before the second attempt: a killed server's children usually end within it, and block a new server until
/// then.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause before later attempts; each pause is twice as long as the one before.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The task that watches a server.
#[derive(Debug)]
pub(super) struct Keeper {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Option<Server>>,
}

impl Keeper {
    pub(super) fn start(place: ClusterDir, server: Server, restarts: Counter) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(keep(place, server, restarts, stopped)) }
    }

    /// Waits until no start is under way; returns the running server.
    pub(super) async fn stop(self) -> Option<Server> {
        let _ = self.stop.send(());
        self.task.await.ok().flatten()
    }
}

async fn keep(
    place: ClusterDir,
    mut server: Server,
    restarts: Counter,
    mut stopped: oneshot::Receiver<()>,
) -> Option<Server> {
    loop {
        tokio::select! {
            () = server.ended() => {}
            _ = &mut stopped => return Some(server),
        }
        let began = Instant::now();
        tracing::error!(log = %place.log().display(), "the private PostgreSQL server ended; it is started again");
        restarts.inc();
        server = restart(&place, &mut stopped).await?;
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(ms, "the private PostgreSQL server is back");
    }
}

/// Starts the server, with retries; `None` once `stopped` has fired.
async fn restart(place: &ClusterDir, stopped: &mut oneshot::Receiver<()>) -> Option<Server> {
    let mut pause = FIRST_PAUSE;
    loop {
        // Not cancelled: a start under way leaves a server that has to be known.
        let starting = place.clone();
        let started = spawn_blocking(move || starting.start()).await;
        let cause = match started {
            Ok(Ok(server)) => tokio::select! {
                answer = is_up(place, server) => match answer {
                    Ok(server) => return Some(server),
                    Err(cause) => cause.to_string(),
                },
                _ = &mut *stopped => return None,
            },
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        if pause == FIRST_PAUSE * 8 {
            tracing::error!(cause, "the private PostgreSQL server does not start; further attempts follow");
        }
        tokio::select! {
            () = sleep(pause) => {}
            _ = &mut *stopped => return None,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Waits until `server` accepts connections, which it does not do before its crash recovery is complete.
async fn is_up(place: &ClusterDir, mut server: Server) -> Result<Server, LocalError> {
    let accepted = tokio::select! {
        accepted = place.accepts(START_TIMEOUT) => accepted,
        () = server.ended() => Err("it ended".to_owned()),
    };
    accepted.map(|()| server).map_err(|cause| place.failure(cause))
}
