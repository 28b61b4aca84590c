//! The two address families.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// The address families of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

impl Families {
    /// Both.
    pub const ALL: Self = Self { v4: true, v6: true };

    /// The families of the addresses that a node listens on.
    #[must_use]
    pub fn of(listen: &[SocketAddr]) -> Self {
        Self {
            v4: listen.iter().any(|address| canonical(*address).is_ipv4()),
            v6: listen.iter().any(|address| canonical(*address).is_ipv6()),
        }
    }

    /// Whether the address is of a family that the node uses. An IPv4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub const fn speak(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }
}

/// Converts an IPv4-mapped IPv6 address to IPv4. Other addresses are unchanged.
pub(crate) const fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Converts an IPv4 address to an IPv4-mapped IPv6 address. Other addresses are unchanged.
pub(crate) const fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => {
            SocketAddr::V6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
        }
        SocketAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_is_ipv4_however_it_is_written() {
        let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let (plain, written) = (address("192.0.2.1:7"), address("[::ffff:192.0.2.1]:7"));
        assert_eq!((canonical(written), canonical(plain)), (plain, plain));
        assert_eq!((mapped(plain), mapped(written)), (written, written));
        let linked = address("[fe80::1%3]:7");
        assert_eq!((canonical(linked), mapped(linked)), (linked, linked), "the link stays");
        let v4 = Families { v4: true, v6: false };
        assert!(v4.speak(written.ip()) && v4.speak(plain.ip()) && !v4.speak(linked.ip()));
    }
}
