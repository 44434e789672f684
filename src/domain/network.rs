//! Client networks, the unit that limits count.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A client's network: an IPv4 address, or the /64 that an IPv6 client may choose its addresses from. Its `Debug` does not
/// show it, because addresses of clients are not logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(IpAddr);

impl Network {
    /// The network of `addr`. An IPv4 address that is written as an IPv6 one (`::ffff:192.0.2.1`, or `64:ff9b::192.0.2.1` of
    /// a translator, RFC 6052) counts as what it is.
    #[must_use]
    pub fn of(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(addr) => Self(addr.into()),
            IpAddr::V6(addr) if addr.to_bits() >> 32 == TRANSLATED => {
                let [.., a, b, c, d] = addr.octets();
                Self(Ipv4Addr::new(a, b, c, d).into())
            }
            IpAddr::V6(addr) => Self(first_bits(addr, 64).into()),
        }
    }

    /// The /56 and the /48 of an IPv6 network. Providers assign them to sites, so one client may own a whole one.
    #[must_use]
    pub fn around(self) -> Option<[Self; 2]> {
        match self.0 {
            IpAddr::V4(_) => None,
            IpAddr::V6(addr) => Some([56, 48].map(|bits| Self(first_bits(addr, bits).into()))),
        }
    }
}

/// Whether an account knows the network of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The account has logged in from there lately.
    Known,
    /// No recent login from there is recorded.
    Stranger,
}

/// `64:ff9b::/96`, less the address in its last 32 bits.
const TRANSLATED: u128 = 0x0064_ff9b << 64;

fn first_bits(addr: Ipv6Addr, bits: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(addr.to_bits() >> (128 - bits) << (128 - bits))
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
        assert_eq!(network("64:ff9b::192.0.2.1"), "192.0.2.1");
        assert_eq!(network("64:ff9b:1::192.0.2.1"), "64:ff9b:1::/64");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(network("2001:db8:1:2:ffff::"), network("2001:db8:1:2::1"));
        assert_ne!(network("2001:db8:1:3::1"), network("2001:db8:1:2::1"));
    }

    #[test]
    fn ipv6_networks_lie_in_wider_ones() {
        let around = |addr: &str| Network::of(addr.parse().unwrap()).around();
        assert_eq!(around("192.0.2.1"), None);
        let one = around("2001:db8:1:203::1").unwrap();
        assert_eq!(one.map(|network| network.0.to_string()), ["2001:db8:1:200::", "2001:db8:1::"]);
        assert_eq!(around("2001:db8:1:2ff::1"), Some(one));
        let other = around("2001:db8:1:303::1").unwrap();
        assert!(one[0] != other[0] && one[1] == other[1]);
    }

    #[test]
    fn the_address_is_not_in_its_debug_form() {
        assert_eq!(format!("{:?}", Network::of("192.0.2.1".parse().unwrap())), "Network(…)");
    }
}
