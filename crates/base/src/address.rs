//! What an address says of where it leads.

use std::net::{IpAddr, SocketAddr};

/// An address of this node on one of its machine's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalAddress {
    /// The interface's address and the port that the node listens on.
    pub socket: SocketAddr,
    /// How many leading bits the addresses of the interface's network have in common.
    pub prefix_bits: u8,
}

impl LocalAddress {
    /// Whether `ip` is in the network that this interface is connected to, as its prefix says.
    #[must_use]
    pub fn is_on_link(&self, ip: IpAddr) -> bool {
        let differ = |one: u128, other: u128, bits: u32| {
            let kept = u32::from(self.prefix_bits).min(bits);
            kept > 0 && (one ^ other).leading_zeros() - (128 - bits) >= kept
        };
        match (self.socket.ip().to_canonical(), ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                differ(own.to_bits().into(), ip.to_bits().into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => differ(own.to_bits(), ip.to_bits(), 128),
            _ => false,
        }
    }
}

impl From<SocketAddr> for LocalAddress {
    /// An address of which no network is known: nothing but itself is on its link.
    fn from(socket: SocketAddr) -> Self {
        Self { socket, prefix_bits: if socket.is_ipv4() { 32 } else { 128 } }
    }
}

/// Whether a node anywhere on the Internet could send to this address.
#[must_use]
pub fn is_global(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            let special = ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_documentation()
                || ip.is_unspecified();
            let reserved = a == 0 || a >= 224 || (a, b, c) == (192, 0, 0);
            let shared_or_benchmark = (a == 100 && b & 0xc0 == 64) || (a == 198 && b & 0xfe == 18);
            !(special || reserved || shared_or_benchmark)
        }
        IpAddr::V6(ip) => {
            let documentation = ip.segments()[..2] == [0x2001, 0xdb8];
            // Global unicast is 2000::/3 (RFC 4291).
            ip.segments()[0] & 0xe000 == 0x2000 && !documentation
        }
    }
}

/// Whether a datagram can be sent to this address at all. An IPv6 address of one link needs the name of
/// the link, which no message has a place for.
#[must_use]
pub fn is_dialable(address: &SocketAddr) -> bool {
    let unusable = match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local(),
    };
    address.port() != 0 && !unusable
}

/// Puts the addresses of another node into the order in which they are tried: those in a network that
/// this node is connected to, then global ones, then the others; among equals as that node gave them.
/// Addresses that cannot lead to it are left out: unusable ones, and loopback unless this node has no
/// other address either.
#[must_use]
pub fn nearest_first(
    own: &[LocalAddress],
    theirs: impl IntoIterator<Item = SocketAddr>,
) -> Vec<SocketAddr> {
    let looped = own.iter().all(|own| own.socket.ip().is_loopback());
    let rank = |address: &SocketAddr| {
        let ip = address.ip();
        if ip.to_canonical().is_loopback() || own.iter().any(|own| own.is_on_link(ip)) {
            0
        } else if is_global(ip) {
            1
        } else {
            2
        }
    };
    let mut ways: Vec<SocketAddr> = Vec::new();
    for way in theirs {
        let leads = is_dialable(&way) && (looped || !way.ip().to_canonical().is_loopback());
        if leads && !ways.contains(&way) {
            ways.push(way);
        }
    }
    ways.sort_by_key(rank);
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) -> LocalAddress {
        let (ip, bits) = text.split_once('/').unwrap();
        let socket = SocketAddr::new(ip.parse().unwrap(), 12345);
        LocalAddress { socket, prefix_bits: bits.parse().unwrap() }
    }

    fn all(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn only_globally_routed_addresses_are_global() {
        let global = ["8.8.8.8", "100.63.0.1", "100.128.0.1", "2a00::1", "::ffff:9.9.9.9"];
        let not = [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "192.0.2.2",
            "198.18.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "::1",
            "fe80::1",
            "fd00::2",
            "2001:db8::1",
            "::ffff:10.0.0.1",
        ];
        for ip in global {
            assert!(is_global(ip.parse().unwrap()), "{ip}");
        }
        for ip in not {
            assert!(!is_global(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn the_prefix_says_what_is_on_the_link() {
        for (own, ip, on) in [
            ("10.1.2.3/16", "10.1.9.9", true),
            ("10.1.2.3/16", "10.2.2.3", false),
            ("10.1.2.3/32", "10.1.2.3", true),
            ("10.1.2.3/32", "10.1.2.2", false),
            ("10.1.2.3/0", "10.1.2.3", false),
            ("10.1.2.3/16", "fd00::1", false),
            ("10.1.2.3/16", "::ffff:10.1.0.1", true),
            ("fd00:0:0:1::3/64", "fd00:0:0:1:7::1", true),
            ("fd00:0:0:1::3/64", "fd00:0:0:2::3", false),
        ] {
            assert_eq!(local(own).is_on_link(ip.parse().unwrap()), on, "{own} {ip}");
        }
    }

    #[test]
    fn the_own_network_comes_first_then_global_addresses_then_the_rest_as_given() {
        let own = [local("192.168.1.5/24"), local("fd00::5/64")];
        let theirs = all(&[
            "203.0.113.9:5000",
            "10.0.0.7:12345",
            "9.9.9.9:5000",
            "192.168.1.7:12345",
            "127.0.0.1:12345",
            "9.9.9.9:5000",
            "8.8.8.8:0",
            "[fe80::1]:7",
        ]);
        let expected =
            all(&["192.168.1.7:12345", "9.9.9.9:5000", "203.0.113.9:5000", "10.0.0.7:12345"]);
        assert_eq!(nearest_first(&own, theirs), expected);
        let looped = [local("127.0.0.1/8")];
        let theirs = all(&["9.9.9.9:5000", "127.0.0.1:7"]);
        assert_eq!(nearest_first(&looped, theirs), all(&["127.0.0.1:7", "9.9.9.9:5000"]));
    }
}
