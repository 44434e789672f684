//! How many files the system lets this process open, and so how many connections it may accept.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{self, Config};

/// For everything but clients and the database: listeners, logs, libraries, the admin listener's clients.
const RESERVE: usize = 128;
/// Part of all connections that one network may have at most, where the system allows few.
const NETWORK_PART: usize = 4;

/// Raises the limit as far as the system allows, and bounds the connections of `config` by it: a connection that cannot be
/// accepted for want of a descriptor is worse than one that waits in the backlog.
pub(super) fn bound(config: &mut Config) {
    let Some(limit) = raise() else { return };
    let room = limit.saturating_sub(RESERVE + 2 * config.database.pool_size).max(1);
    let server = &mut config.server;
    // Beside the connections of HTTPS there may be those of the redirect, a part of their number.
    let room = if server.https.redirect_addr.is_some() { room - room / (config::REDIRECT_PART + 1) } else { room };
    server.max_connections_per_address = server.max_connections_per_address.min((room / NETWORK_PART).max(1));
    if server.max_connections <= room {
        return;
    }
    tracing::warn!(
        limit,
        max_connections = room,
        "the system allows too few open files for server.max_connections, which is bounded; raise the limit (ulimit -n, \
         LimitNOFILE= of systemd)"
    );
    server.max_connections = room;
}

/// The limit after that; `None` where there is none.
fn raise() -> Option<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let limit = if current == maximum || setrlimit(Resource::Nofile, raised).is_err() { current } else { maximum };
    limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}
