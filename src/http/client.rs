//! Who sent a request, as far as its connection tells.

use std::net::IpAddr;

use crate::domain::network::Network;

/// The sender of a request.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// Where the request comes from.
    pub network: Network,
}

impl Client {
    /// Whoever holds the other end of a connection from `peer`.
    #[must_use]
    pub fn of_peer(peer: IpAddr) -> Self {
        Self { network: Network::of(peer) }
    }
}
