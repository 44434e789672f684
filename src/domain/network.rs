//! Where a request comes from, as far as limits care.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A client's network: an IPv4 address, or the /64 that an IPv6 client may choose its addresses from. Its `Debug` does not
/// tell it: addresses of clients are not logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(IpAddr);

impl Network {
    /// The network of `addr`. An IPv4 address that is written as an IPv6 one (`::ffff:192.0.2.1`) counts as what it is.
    #[must_use]
    pub fn of(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(addr) => Self(addr.into()),
            IpAddr::V6(addr) => Self(Ipv6Addr::from_bits(addr.to_bits() >> 64 << 64).into()),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(addr) => write!(f, "{addr}"),
            IpAddr::V6(addr) => write!(f, "{addr}/64"),
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(addr: &str) -> String {
        Network::of(addr.parse().unwrap()).to_string()
    }

    #[test]
    fn ipv4_counts_by_address_and_ipv6_by_64_bits() {
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(network("2001:db8:1:2:ffff::"), network("2001:db8:1:2::1"));
        assert_ne!(network("2001:db8:1:3::1"), network("2001:db8:1:2::1"));
    }

    #[test]
    fn the_address_is_not_in_its_debug_form() {
        assert_eq!(format!("{:?}", Network::of("192.0.2.1".parse().unwrap())), "Network(…)");
    }
}
