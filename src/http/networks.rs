//! Limits of open connections and begun handshakes per network, so that no client takes them all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::iter;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::interval;

use super::limits::Decision;
use super::limits::local::Buckets;
use crate::domain::network::Network;

/// How many times the connections of an IPv6 network the /56 and the /48 around it may have together.
const WIDER: [usize; 2] = [2, 4];

const SWEEP: Duration = Duration::from_secs(1);

/// Token buckets of handshakes: of a network, and of the /56 and the /48 around an IPv6 one.
pub type Handshakes = [Buckets; 3];

/// The open connections of every network. An entry goes with its last connection, so there are never more than those.
#[derive(Debug)]
pub struct Networks {
    /// Keyed by network and multiple of the share, because the first /64 of a /48 has the same address.
    open: Mutex<HashMap<(Network, usize), usize>>,
    max_each: usize,
    /// Limits of TLS handshakes: each costs a signature, and the client nothing.
    handshakes: Option<Handshakes>,
    /// Proxies, whose connections are not limited: each carries many clients.
    proxies: Vec<IpNet>,
}

/// One connection's slot of its network, returned when dropped.
#[derive(Debug)]
pub struct Slot {
    networks: Arc<Networks>,
    /// `None` for connections of a proxy, which are not counted.
    network: Option<Network>,
}

impl Networks {
    /// Room for `max_each` connections of each network and as many handshakes as `handshakes` let pass, and for any number of
    /// each of `proxies`.
    #[must_use]
    pub fn new(max_each: usize, handshakes: Option<Handshakes>, proxies: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), max_each, handshakes, proxies })
    }

    /// A slot for a connection from `peer`, which begins a handshake if `has_handshake`. `None` where its network has
    /// no slot left, or may begin no more handshakes.
    #[must_use]
    pub fn enter(self: &Arc<Self>, peer: IpAddr, has_handshake: bool) -> Option<Slot> {
        let peer = peer.to_canonical();
        if self.proxies.iter().any(|proxies| proxies.contains(&peer)) {
            return Some(Slot { networks: Arc::clone(self), network: None });
        }
        let network = Network::of(peer);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |counted: (_, usize)| open.get(&counted).is_some_and(|count| *count >= self.max_each * counted.1);
        if counted(network).any(is_full) || (has_handshake && !self.lets_begin(network)) {
            return None;
        }
        for counted in counted(network) {
            *open.entry(counted).or_insert(0) += 1;
        }
        Some(Slot { networks: Arc::clone(self), network: Some(network) })
    }

    /// Whether the network may begin one more handshake.
    fn lets_begin(&self, network: Network) -> bool {
        let Some([own, wide @ ..]) = &self.handshakes else { return true };
        let takes = |buckets: &Buckets, network| matches!(buckets.take(network), Decision::Allowed { .. });
        let around = network.around().into_iter().flatten();
        takes(own, network) && wide.iter().zip(around).all(|(buckets, network)| takes(buckets, network))
    }

    /// Drops full buckets of handshakes, until dropped.
    pub async fn sweep(self: Arc<Self>) {
        let mut sweeps = interval(SWEEP);
        loop {
            sweeps.tick().await;
            self.handshakes.iter().flatten().for_each(Buckets::sweep);
        }
    }
}

/// The networks that a connection counts for: its own and the wider ones around it, each with its multiple of the
/// share.
fn counted(network: Network) -> impl Iterator<Item = (Network, usize)> {
    let around = network.around().into_iter().flat_map(|around| around.into_iter().zip(WIDER));
    iter::once((network, 1)).chain(around)
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(network) = self.network else { return };
        let mut open = self.networks.open.lock().unwrap_or_else(PoisonError::into_inner);
        for counted in counted(network) {
            if let Entry::Occupied(mut entry) = open.entry(counted) {
                *entry.get_mut() -= 1;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rate;
    use crate::telemetry::Counter;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_network_has_its_own_slots() {
        let networks = Networks::new(2, None, Vec::new());
        let _first = networks.enter(addr("192.0.2.1"), false).unwrap();
        let second = networks.enter(addr("::ffff:192.0.2.1"), false).unwrap();
        assert!(networks.enter(addr("192.0.2.1"), false).is_none());
        assert!(networks.enter(addr("192.0.2.2"), false).is_some());
        drop(second);
        assert!(networks.enter(addr("192.0.2.1"), false).is_some());
    }

    #[test]
    fn the_connections_of_a_proxy_are_not_counted() {
        let networks = Networks::new(1, None, vec!["192.0.2.0/24".parse().unwrap()]);
        let held: Vec<_> = (0..3).map(|_| networks.enter(addr("::ffff:192.0.2.1"), false)).collect();
        assert!(held.iter().all(Option::is_some));
        let _other = networks.enter(addr("198.51.100.1"), false).unwrap();
        assert!(networks.enter(addr("198.51.100.1"), false).is_none());
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_share_its_slots() {
        let networks = Networks::new(1, None, Vec::new());
        let _one = networks.enter(addr("2001:db8::1"), false).unwrap();
        assert!(networks.enter(addr("2001:db8::ffff:0:0:2"), false).is_none());
        assert!(networks.enter(addr("2001:db8:0:1::1"), false).is_some());
    }

    #[test]
    fn nothing_is_kept_of_a_network_that_has_left() {
        let networks = Networks::new(1, None, Vec::new());
        for last in 0..=255 {
            let slot = networks.enter(IpAddr::from([192, 0, 2, last]), false).unwrap();
            assert!(networks.enter(IpAddr::from([192, 0, 2, last]), false).is_none());
            drop(slot);
        }
        assert!(networks.open.lock().unwrap().is_empty());
    }

    #[test]
    fn a_site_has_no_more_than_a_few_networks_worth_of_slots() {
        let networks = Networks::new(2, None, Vec::new());
        let enter = |addr: String| networks.enter(addr.parse().unwrap(), false);
        let held: Vec<_> = (0..10).filter_map(|n| enter(format!("2001:db8:1:{n:x}::1"))).collect();
        assert_eq!(held.len(), 4, "two networks' worth in one /56");
        let more: Vec<_> = (1..10).filter_map(|n| enter(format!("2001:db8:1:{n:x}00::1"))).collect();
        assert_eq!(more.len(), 4, "four networks' worth in one /48");
        assert!(enter("2001:db8:2::1".to_owned()).is_some());
        drop((held, more));
        assert!(networks.open.lock().unwrap().is_empty());
    }

    #[test]
    fn a_network_begins_no_more_handshakes_than_it_has_tokens() {
        let rate = Rate { period: Duration::from_hours(1), burst: 3.try_into().unwrap() };
        let overflows = Counter::new("overflows", "None.").unwrap();
        let proxies = vec!["192.0.2.9/32".parse().unwrap()];
        let networks = Networks::new(10, Some([0; 3].map(|_| Buckets::new(rate, 10, overflows.clone()))), proxies);
        let begun = (0..10).filter(|_| networks.enter(addr("192.0.2.1"), true).is_some()).count();
        assert_eq!(begun, 3);
        assert!(networks.enter(addr("192.0.2.1"), false).is_some(), "plain connections cost none");
        assert!(networks.enter(addr("192.0.2.2"), true).is_some());
        assert!((0..10).all(|_| networks.enter(addr("192.0.2.9"), true).is_some()), "a proxy's are its clients'");
    }

    #[test]
    fn a_site_begins_no_more_handshakes_than_it_has_tokens() {
        let rate = |burst: u32| Rate { period: Duration::from_hours(1), burst: burst.try_into().unwrap() };
        let overflows = Counter::new("overflows", "None.").unwrap();
        let handshakes = [1, 2, 3].map(|burst| Buckets::new(rate(burst), 10, overflows.clone()));
        let networks = Networks::new(10, Some(handshakes), Vec::new());
        let begun = |addr: String| networks.enter(addr.parse().unwrap(), true).is_some();
        assert_eq!((0..9).filter(|n| begun(format!("2001:db8:1:{n:x}::1"))).count(), 2, "in one /56");
        assert_eq!((1..9).filter(|n| begun(format!("2001:db8:1:{n:x}00::1"))).count(), 1, "in one /48");
    }
}
