//! How many connections each network has open, so that no client takes them all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

use crate::domain::network::Network;

/// The open connections of every network. An entry goes with its last connection, so there are never more than those.
#[derive(Debug)]
pub struct Networks {
    open: Mutex<HashMap<Network, usize>>,
    max_each: usize,
    /// Proxies, each of which has as many connections as it has clients.
    proxies: Vec<IpNet>,
}

/// One connection's place among its network's, given back when dropped.
#[derive(Debug)]
pub struct Place {
    networks: Arc<Networks>,
    /// `None` for a proxy's, which are not counted.
    network: Option<Network>,
}

impl Networks {
    /// Room for `max_each` connections of each network, and for any number of each of `proxies`.
    #[must_use]
    pub fn new(max_each: usize, proxies: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), max_each, proxies })
    }

    /// A place for a connection from `peer`; `None` where its network has taken all of its own.
    #[must_use]
    pub fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let peer = peer.to_canonical();
        if self.proxies.iter().any(|proxies| proxies.contains(&peer)) {
            return Some(Place { networks: Arc::clone(self), network: None });
        }
        let network = Network::of(peer);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(network).or_insert(0);
        if *count >= self.max_each {
            return None;
        }
        *count += 1;
        Some(Place { networks: Arc::clone(self), network: Some(network) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(network) = self.network else { return };
        let mut open = self.networks.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = open.entry(network) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_network_has_its_own_places() {
        let networks = Networks::new(2, Vec::new());
        let _first = networks.enter(addr("192.0.2.1")).unwrap();
        let second = networks.enter(addr("::ffff:192.0.2.1")).unwrap();
        assert!(networks.enter(addr("192.0.2.1")).is_none());
        assert!(networks.enter(addr("192.0.2.2")).is_some());
        drop(second);
        assert!(networks.enter(addr("192.0.2.1")).is_some());
    }

    #[test]
    fn the_connections_of_a_proxy_are_not_counted() {
        let networks = Networks::new(1, vec!["192.0.2.0/24".parse().unwrap()]);
        let held: Vec<_> = (0..3).map(|_| networks.enter(addr("::ffff:192.0.2.1"))).collect();
        assert!(held.iter().all(Option::is_some));
        let _other = networks.enter(addr("198.51.100.1")).unwrap();
        assert!(networks.enter(addr("198.51.100.1")).is_none());
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_share_its_places() {
        let networks = Networks::new(1, Vec::new());
        let _one = networks.enter(addr("2001:db8::1")).unwrap();
        assert!(networks.enter(addr("2001:db8::ffff:0:0:2")).is_none());
        assert!(networks.enter(addr("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn nothing_is_kept_of_a_network_that_has_left() {
        let networks = Networks::new(1, Vec::new());
        for last in 0..=255 {
            let place = networks.enter(IpAddr::from([192, 0, 2, last])).unwrap();
            assert!(networks.enter(IpAddr::from([192, 0, 2, last])).is_none());
            drop(place);
        }
        assert!(networks.open.lock().unwrap().is_empty());
    }
}
