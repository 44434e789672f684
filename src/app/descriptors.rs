//! The system's limit of open files, which bounds the connections that can be accepted.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{self, Config};

/// Files for everything but clients and the database: listeners, logs, libraries, the admin listener's clients.
const RESERVE: usize = 128;
/// One network may have at most one in so many of all connections, where the system allows few.
const NETWORK_PART: usize = 4;

/// Raises the limit as far as the system allows, and bounds the connections of `config` by it. A connection that fails
/// for want of a descriptor is worse than one that waits in the backlog.
pub(super) fn bound(config: &mut Config) {
    let Some(limit) = raise() else { return };
    let room = limit.saturating_sub(RESERVE + 2 * config.database.pool_size).max(1);
    let server = &mut config.server;
    // The connections of the redirect come on top, as a part of those of HTTPS.
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

/// Raises the limit and returns it; `None` where there is none.
fn raise() -> Option<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let limit = if current == maximum || setrlimit(Resource::Nofile, raised).is_err() { current } else { maximum };
    limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}
