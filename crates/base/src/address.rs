//! What an address says of where it leads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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

/// From where an address can be reached, by its registered purpose (the IANA special-purpose registries
/// of RFC 6890). All code that treats addresses differently by their place asks this one classification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressScope {
    /// Not the address of one host: unspecified, multicast or broadcast.
    NotUnicast,
    /// This machine only: 127.0.0.0/8, ::1.
    Loopback,
    /// One link only: 169.254.0.0/16, fe80::/10.
    LinkLocal,
    /// The networks of one organisation: RFC 1918, fc00::/7, and 100.64.0.0/10, which providers share
    /// among their customers (RFC 6598).
    Private,
    /// Documentation, benchmarks, protocol assignments and ranges that are reserved for later use. No
    /// router of the Internet forwards these.
    Reserved,
    /// The Internet.
    Global,
}

impl AddressScope {
    /// The scope of `ip`. An IPv4 address that is mapped into IPv6 has the scope of the IPv4 address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Self {
        let [a, b, c, _] = ip.octets();
        let benchmark = a == 198 && b & 0xfe == 18;
        let protocol_assignment = (a, b, c) == (192, 0, 0);
        if ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() {
            Self::NotUnicast
        } else if ip.is_loopback() {
            Self::Loopback
        } else if ip.is_link_local() {
            Self::LinkLocal
        } else if ip.is_private() || (a == 100 && b & 0xc0 == 64) {
            Self::Private
        } else if a == 0 || a >= 240 || ip.is_documentation() || benchmark || protocol_assignment {
            Self::Reserved
        } else {
            Self::Global
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        let documentation = ip.segments()[..2] == [0x2001, 0xdb8];
        if ip.is_unspecified() || ip.is_multicast() {
            Self::NotUnicast
        } else if ip.is_loopback() {
            Self::Loopback
        } else if ip.is_unicast_link_local() {
            Self::LinkLocal
        } else if ip.is_unique_local() {
            Self::Private
        } else if ip.segments()[0] & 0xe000 == 0x2000 && !documentation {
            // Global unicast is 2000::/3 (RFC 4291).
            Self::Global
        } else {
            Self::Reserved
        }
    }
}

/// Whether a node anywhere on the Internet could send to this address.
#[must_use]
pub fn is_global(ip: IpAddr) -> bool {
    AddressScope::of(ip) == AddressScope::Global
}

/// Whether the address belongs to this machine, to one link or to the networks of one organisation, so
/// that equal addresses in two places can be two machines.
#[must_use]
pub fn is_private(ip: IpAddr) -> bool {
    match AddressScope::of(ip) {
        AddressScope::Loopback | AddressScope::LinkLocal | AddressScope::Private => true,
        AddressScope::NotUnicast | AddressScope::Reserved | AddressScope::Global => false,
    }
}

/// Whether a datagram can be sent to a host with this address if no interface is named beside it. An IPv6
/// address of one link needs the name of the link, which no message has a place for.
#[must_use]
pub fn is_unicast(ip: IpAddr) -> bool {
    match AddressScope::of(ip) {
        AddressScope::NotUnicast => false,
        AddressScope::LinkLocal => ip.to_canonical().is_ipv4(),
        AddressScope::Loopback
        | AddressScope::Private
        | AddressScope::Reserved
        | AddressScope::Global => true,
    }
}

/// Whether a datagram can be sent to this address: [`is_unicast`], and a port.
#[must_use]
pub fn is_dialable(address: &SocketAddr) -> bool {
    address.port() != 0 && is_unicast(address.ip())
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
    fn each_address_has_the_scope_that_its_registry_gives_it() {
        use AddressScope::{Global, LinkLocal, Loopback, NotUnicast, Private, Reserved};
        for (scope, ips) in [
            (NotUnicast, "0.0.0.0 224.0.0.1 239.255.255.255 255.255.255.255 :: ff02::1"),
            (Loopback, "127.0.0.1 127.255.0.1 ::1 ::ffff:127.0.0.1"),
            (LinkLocal, "169.254.1.1 fe80::1 febf::1 ::ffff:169.254.0.1"),
            (Private, "10.1.2.3 172.16.0.1 172.31.0.1 192.168.0.1 fd00::2 fc00::1 ::ffff:10.0.0.1"),
            (Private, "100.64.0.1 100.127.255.255"),
            (Reserved, "0.1.2.3 192.0.0.8 192.0.2.2 198.18.0.1 203.0.113.9 240.0.0.1"),
            (Reserved, "2001:db8::1 4000::1 64:ff9b::1"),
            (
                Global,
                "8.8.8.8 100.63.0.1 100.128.0.1 172.32.0.1 223.255.255.1 2a00::1 ::ffff:9.9.9.9",
            ),
        ] {
            for ip in ips.split(' ') {
                assert_eq!(AddressScope::of(ip.parse().unwrap()), scope, "{ip}");
            }
        }
    }

    #[test]
    fn private_unicast_and_dialable_follow_from_the_scope() {
        for (ip, private, unicast) in [
            ("0.0.0.0", false, false),
            ("255.255.255.255", false, false),
            ("127.0.0.1", true, true),
            ("169.254.1.1", true, true),
            ("fe80::1", true, false),
            ("fd00::1", true, true),
            ("::ffff:100.64.0.1", true, true),
            ("192.0.2.2", false, true),
            ("9.9.9.9", false, true),
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!((is_private(ip), is_unicast(ip)), (private, unicast), "{ip}");
            assert_eq!(is_dialable(&SocketAddr::new(ip, 7)), unicast, "{ip}");
            assert!(!is_dialable(&SocketAddr::new(ip, 0)), "{ip}");
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
