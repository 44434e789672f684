//! The client of a request: its peer, or the client that a trusted proxy names.
//!
//! Every proxy appends the address of its own peer to `Forwarded` or `X-Forwarded-For`. A client may send either header
//! with any content. So the headers are read from the right, and only as far as trust goes:
//!
//! 1. A peer that `server.trusted_proxies` does not name is the client; neither header is read.
//! 2. From the right, hops of trusted proxies are passed over; the first other address is the client.
//! 3. A hop without an address (`unknown`, `_hidden`, nothing, nonsense) ends the reading, and so does the left end of
//!    the list: the request then counts for the last trusted proxy.
//! 4. If both headers are there, they must lead to the same address. Otherwise the client may have made up one of them,
//!    and the request counts for the peer.
//!
//! So no client is counted under an address of its own choice, if the proxies append to the header or replace it.

pub mod forwarded;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::domain::network::Network;
use forwarded::Hop;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The sender of a request.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// Where the request comes from.
    pub network: Network,
}

/// The proxies whose headers are trusted.
#[derive(Debug, Default)]
pub struct Proxies {
    trusted: Vec<IpNet>,
    /// Whether a proxy that is not trusted has been logged.
    is_logged: AtomicBool,
}

impl Proxies {
    /// Trusts the proxies in these networks.
    #[must_use]
    pub fn new(trusted: Vec<IpNet>) -> Self {
        Self { trusted, is_logged: AtomicBool::new(false) }
    }

    /// The sender of a request with `headers` that came over a connection from `peer`.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let addr = self.client_address(peer.to_canonical(), headers);
        Client { network: Network::of(addr) }
    }

    fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            self.warn_once(peer, headers);
            return peer;
        }
        let forwarded = self.walk(peer, headers, &FORWARDED, forwarded::hops);
        let x_forwarded_for = self.walk(peer, headers, &X_FORWARDED_FOR, forwarded::x_hops);
        match (forwarded, x_forwarded_for) {
            (Some(one), Some(other)) if one != other => peer,
            (Some(addr), _) | (None, Some(addr)) => addr,
            (None, None) => peer,
        }
    }

    fn trusts(&self, addr: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&addr))
    }

    /// The address that the header `name` leads to from `peer`; `None` without the header. Each line is read by itself,
    /// so that a quotation mark that a client leaves open does not reach into a proxy's line.
    fn walk(&self, peer: IpAddr, headers: &HeaderMap, name: &HeaderName, read: fn(&str) -> Vec<Hop>) -> Option<IpAddr> {
        let mut lines = headers.get_all(name).iter();
        let mut last = peer;
        let mut next = lines.next_back();
        next?;
        while let Some(line) = next {
            for hop in hops_of(line, read).into_iter().rev() {
                match hop {
                    Hop::Address(addr) if self.trusts(addr) => last = addr,
                    Hop::Address(addr) => return Some(addr),
                    Hop::Hidden => return Some(last),
                }
            }
            next = lines.next_back();
        }
        Some(last)
    }

    /// Logs once that a proxy on a private network is not trusted: most likely a setting was forgotten, and all its
    /// clients count as one.
    fn warn_once(&self, peer: IpAddr, headers: &HeaderMap) {
        if !headers.contains_key(X_FORWARDED_FOR) && !headers.contains_key(FORWARDED) {
            return;
        }
        let is_near = match peer {
            IpAddr::V4(addr) => addr.is_loopback() || addr.is_private(),
            IpAddr::V6(addr) => addr.is_loopback() || addr.is_unique_local(),
        };
        if is_near && !self.is_logged.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a proxy on a private network is not in server.trusted_proxies: for rate limits, all its clients are one"
            );
        }
    }
}

fn hops_of(line: &HeaderValue, read: fn(&str) -> Vec<Hop>) -> Vec<Hop> {
    line.to_str().map_or_else(|_| vec![Hop::Hidden], read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies() -> Proxies {
        Proxies::new(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:ffff::/48".parse().unwrap()])
    }

    fn client(peer: &str, lines: &[(&'static str, &'static str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        proxies().client(peer.parse().unwrap(), &headers).network.to_string()
    }

    const XFF: &str = "x-forwarded-for";
    const FWD: &str = "forwarded";

    #[test]
    fn only_a_trusted_peer_is_believed() {
        assert_eq!(client("192.0.2.1", &[(XFF, "198.51.100.1"), (FWD, "for=198.51.100.1")]), "192.0.2.1");
        assert_eq!(client("10.1.2.3", &[(XFF, "198.51.100.1")]), "198.51.100.1");
        assert_eq!(client("10.1.2.3", &[(FWD, "for=198.51.100.1")]), "198.51.100.1");
        assert_eq!(client("::ffff:10.1.2.3", &[(XFF, "198.51.100.1")]), "198.51.100.1");
        assert_eq!(client("2001:db8:ffff::1", &[(XFF, "::ffff:198.51.100.1")]), "198.51.100.1");
        assert_eq!(client("10.1.2.3", &[]), "10.1.2.3");
    }

    #[test]
    fn hops_are_read_from_the_right_and_trusted_ones_passed_over() {
        assert_eq!(client("10.0.0.1", &[(XFF, "203.0.113.9, 198.51.100.1")]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &[(XFF, "203.0.113.9, 198.51.100.1, 10.0.0.2")]), "198.51.100.1");
        assert_eq!(
            client("10.0.0.1", &[(XFF, "203.0.113.9"), (XFF, "198.51.100.1"), (XFF, "10.0.0.2")]),
            "198.51.100.1"
        );
        assert_eq!(
            client("10.0.0.1", &[(FWD, "for=203.0.113.9, for=198.51.100.1"), (FWD, "for=10.0.0.2")]),
            "198.51.100.1"
        );
        assert_eq!(client("10.0.0.1", &[(XFF, "10.0.0.3, 10.0.0.2")]), "10.0.0.3");
    }

    #[test]
    fn a_hop_without_an_address_ends_the_reading_at_the_last_trusted_one() {
        for hidden in
            ["unknown", "_secret", "", "nonsense", "1.2.3", "198.51.100.1:99999", "198.51.100.1 10.0.0.9", "[::1"]
        {
            let line: &'static str = format!("203.0.113.9, {hidden}").leak();
            assert_eq!(client("10.0.0.1", &[(XFF, line)]), "10.0.0.1", "{hidden:?}");
            let line: &'static str = format!("203.0.113.9, {hidden}, 10.0.0.2").leak();
            assert_eq!(client("10.0.0.1", &[(XFF, line)]), "10.0.0.2", "{hidden:?}");
        }
        assert_eq!(client("10.0.0.1", &[(FWD, "for=203.0.113.9, for=unknown")]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[(FWD, "for=203.0.113.9, proto=https")]), "10.0.0.1");
    }

    #[test]
    fn headers_that_contradict_each_other_lead_nowhere() {
        assert_eq!(client("10.0.0.1", &[(FWD, "for=203.0.113.9"), (XFF, "198.51.100.1")]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[(FWD, "for=unknown"), (XFF, "198.51.100.1")]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[(FWD, "for=198.51.100.1"), (XFF, "198.51.100.1")]), "198.51.100.1");
    }

    #[test]
    fn an_open_quotation_does_not_reach_the_proxys_own_line() {
        assert_eq!(
            client("10.0.0.1", &[(FWD, "for=203.0.113.9;by=\""), (FWD, "for=\"198.51.100.1\"")]),
            "198.51.100.1"
        );
        assert_eq!(client("10.0.0.1", &[(FWD, "for=203.0.113.9;by=\", for=\"198.51.100.1\"")]), "10.0.0.1");
    }

    #[test]
    fn ipv6_clients_count_by_their_network() {
        assert_eq!(client("10.0.0.1", &[(FWD, "for=\"[2001:db8:1:2:3::4]:4711\"")]), "2001:db8:1:2::/64");
        assert_eq!(
            client("10.0.0.1", &[(XFF, "2001:db8:1:2::1")]),
            client("10.0.0.1", &[(XFF, "[2001:db8:1:2::2]:80")])
        );
    }
}
