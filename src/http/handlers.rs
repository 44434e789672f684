//! One endpoint a file: parse, await the actors in turn, reply.

pub mod jwks;
pub mod login;
pub mod me;
pub mod register;
pub mod root;

use super::endpoint::Endpoint;
use super::service::Record;
use crate::actors::Handles;
use crate::actors::audit::AuditHandle;
use crate::domain::network::Network;

impl Record for AuditHandle {
    fn limit_hit(&self, limit: &'static str, network: Network) {
        Self::limit_hit(self, limit, network);
    }
}

/// The endpoints of the API.
#[must_use]
pub fn endpoints(handles: &Handles) -> Vec<Endpoint> {
    let Handles { users, attempts, hasher, tokens, .. } = handles.clone();
    vec![
        register::endpoint(register::Parts { users: users.clone(), hasher: hasher.clone() }),
        login::endpoint(login::Parts { users: users.clone(), attempts, hasher, tokens: tokens.clone() }),
        me::endpoint(users, tokens.clone()),
        root::endpoint(),
        jwks::endpoint(tokens),
    ]
}
