//! Which address a node has in the eyes of others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The address to give to others for a socket bound to `bound`: itself, or if that is the
/// unspecified address, the one that this machine uses towards the outside, else that of one of its
/// interfaces, else loopback.
#[must_use]
pub(crate) fn reachable(bound: SocketAddr) -> SocketAddr {
    if bound.ip().is_unspecified() {
        SocketAddr::new(outward(bound.is_ipv6()), bound.port())
    } else {
        bound
    }
}

/// The address of the interface with the default route. Connecting a UDP socket only asks the
/// routing table: no packet is sent to the documentation address (RFC 5737, RFC 3849) named here.
fn outward(ipv6: bool) -> IpAddr {
    let (any, outside): (IpAddr, IpAddr) = if ipv6 {
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into())
    } else {
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(198, 51, 100, 1).into())
    };
    let ask = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((outside, 9))?;
        socket.local_addr()
    };
    let found = ask().map(|address| address.ip()).ok();
    let found = found.filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
    found.or_else(|| best(&interfaces(), ipv6)).unwrap_or(if ipv6 {
        Ipv6Addr::LOCALHOST.into()
    } else {
        Ipv4Addr::LOCALHOST.into()
    })
}

/// How the names of interfaces begin that lead to containers and virtual machines of this one.
const VIRTUAL: [&str; 7] = ["docker", "br-", "veth", "virbr", "cni", "vmnet", "podman"];

/// The addresses of this machine, and whether only guests of it are behind them. A local network without
/// a way out has no default route.
fn interfaces() -> Vec<(IpAddr, bool)> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let is_virtual = |name: &str| VIRTUAL.iter().any(|begin| name.starts_with(begin));
    all.into_iter().map(|it| (it.ip(), is_virtual(&it.name))).collect()
}

/// All addresses of this machine of a family.
pub(crate) fn of_family(ipv6: bool) -> Vec<IpAddr> {
    interfaces().into_iter().map(|(ip, _)| ip).filter(|ip| ip.is_ipv6() == ipv6).collect()
}

/// Whether this machine has an address of a family, be it loopback only.
pub(crate) fn has_family(ipv6: bool) -> bool {
    !of_family(ipv6).is_empty()
}

/// The address of a family that the most others can reach: one that is routed, then one that is private,
/// then one that holds on one link only, and those of guests last; none if only loopback is left.
fn best(addresses: &[(IpAddr, bool)], ipv6: bool) -> Option<IpAddr> {
    let rank = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) if ip.is_link_local() => 2,
        // A link-local address of IPv6 needs the name of the link, which a contact has no place for.
        IpAddr::V6(ip) if ip.is_unicast_link_local() => 3,
        ip if is_public(*ip) => 0,
        _ => 1,
    };
    addresses
        .iter()
        .filter(|(ip, _)| ip.is_ipv6() == ipv6 && !ip.is_loopback() && !ip.is_unspecified())
        .map(|(ip, is_virtual)| (*is_virtual, rank(ip), *ip))
        .filter(|(_, rank, _)| *rank < 3)
        .min()
        .map(|(_, _, ip)| ip)
}

/// Whether strangers anywhere on the Internet could reach this address.
#[must_use]
pub(crate) fn is_public(ip: IpAddr) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_globally_routed_addresses_are_public() {
        let public = ["8.8.8.8", "100.63.0.1", "100.128.0.1", "2a00::1", "::ffff:9.9.9.9"];
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
        for ip in public {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in not {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn without_a_default_route_an_interface_is_named_and_loopback_only_if_nothing_else_is_there() {
        let ips = |texts: &[&str]| -> Vec<(IpAddr, bool)> {
            texts.iter().map(|text| (text.parse().unwrap(), false)).collect()
        };
        let all = ips(&["127.0.0.1", "::1", "169.254.7.7", "192.168.7.9", "fe80::1", "fd00::5"]);
        assert_eq!(best(&all, false), Some("192.168.7.9".parse().unwrap()));
        assert_eq!(best(&all, true), Some("fd00::5".parse().unwrap()));
        let linked = ips(&["127.0.0.1", "169.254.7.7", "fe80::1"]);
        assert_eq!(best(&linked, false), Some("169.254.7.7".parse().unwrap()));
        assert_eq!(best(&linked, true), None);
        assert_eq!(best(&ips(&["127.0.0.1", "::1"]), false), None);
        assert_eq!(best(&ips(&["10.0.0.1", "9.9.9.9"]), false), Some("9.9.9.9".parse().unwrap()));
        let guests = [("172.17.0.1".parse().unwrap(), true), all[3]];
        assert_eq!(best(&guests, false), Some("192.168.7.9".parse().unwrap()));
        assert_eq!(best(&guests[..1], false), Some("172.17.0.1".parse().unwrap()));
    }

    #[test]
    fn an_unspecified_address_becomes_one_that_can_be_dialed() {
        for bound in ["0.0.0.0:7", "[::]:7"] {
            let bound: SocketAddr = bound.parse().unwrap();
            let reachable = reachable(bound);
            assert!(!reachable.ip().is_unspecified());
            assert_eq!(reachable.is_ipv6(), bound.is_ipv6());
            assert_eq!(reachable.port(), 7);
        }
        let given: SocketAddr = "127.0.0.1:9".parse().unwrap();
        assert_eq!(reachable(given), given);
    }
}
