//! Which interfaces lead to a local network, and which addresses are on it.

use std::net::{IpAddr, SocketAddr};

use if_addrs::{IfAddr, Interface};
use potluck_base::is_unicast;

/// Most addresses of this machine that are used; systems let a socket join some twenty groups.
const LINKS_MAX: usize = 16;

/// How the names of interfaces begin that lead to containers and virtual machines of this one, or into
/// tunnels.
const VIRTUAL: [&str; 14] = [
    "docker",
    "br-",
    "veth",
    "virbr",
    "cni",
    "vmnet",
    "podman",
    "tun",
    "tap",
    "utun",
    "wg",
    "tailscale",
    "zt",
    "ipsec",
];

/// One address of this machine on a local network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) ip: IpAddr,
    pub(super) name: String,
    /// The number of the interface; 0 if the system did not say.
    pub(super) index: u32,
    prefix: u8,
}

impl Link {
    /// One for tests.
    #[cfg(test)]
    pub(super) fn new(ip: IpAddr, prefix: u8) -> Self {
        Self { ip, name: "eth0".into(), index: 2, prefix }
    }

    /// Whether `ip` is on this local network.
    pub(super) fn covers(&self, ip: IpAddr) -> bool {
        let (bits, length): (u128, u8) = match (self.ip, ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => ((own.to_bits() ^ ip.to_bits()).into(), 32),
            (IpAddr::V6(own), IpAddr::V6(ip)) => (own.to_bits() ^ ip.to_bits(), 128),
            _ => return false,
        };
        let below = length.saturating_sub(self.prefix);
        bits.checked_shr(below.into()).unwrap_or_default() == 0
    }
}

/// The addresses at which others on a local network reach a node that listens on `bound`.
pub(super) fn of_this_machine(bound: &[SocketAddr]) -> Vec<Link> {
    chosen(&if_addrs::get_if_addrs().unwrap_or_default(), bound)
}

fn chosen(all: &[Interface], bound: &[SocketAddr]) -> Vec<Link> {
    let usable = all.iter().filter(|it| it.is_oper_up() && !it.is_p2p() && !it.is_loopback());
    let usable: Vec<(bool, Link)> = usable
        .filter(|it| is_unicast(it.ip()) && listens(bound, it.ip()))
        .map(|it| {
            let prefix = match &it.addr {
                IfAddr::V4(addr) => addr.prefixlen,
                IfAddr::V6(addr) => addr.prefixlen,
            };
            let is_virtual = VIRTUAL.iter().any(|begin| it.name.starts_with(begin));
            let index = it.index.unwrap_or_default();
            (is_virtual, Link { ip: it.ip(), name: it.name.clone(), index, prefix })
        })
        .collect();
    let only_virtual = usable.iter().all(|(is_virtual, _)| *is_virtual);
    let wanted = usable.into_iter().filter(|(is_virtual, _)| only_virtual || !is_virtual);
    wanted.map(|(_, link)| link).take(LINKS_MAX).collect()
}

/// Whether a node that is bound to these hears what is sent to `ip`.
fn listens(bound: &[SocketAddr], ip: IpAddr) -> bool {
    bound.iter().any(|bound| {
        bound.ip() == ip || (bound.ip().is_unspecified() && bound.is_ipv6() == ip.is_ipv6())
    })
}

#[cfg(test)]
mod tests {
    use if_addrs::{IfOperStatus, Ifv4Addr, Ifv6Addr};

    use super::*;

    fn interface(name: &str, address: &str) -> Interface {
        let (ip, prefix) = address.split_once('/').unwrap();
        let prefixlen = prefix.parse().unwrap();
        let addr = match ip.parse().unwrap() {
            IpAddr::V4(ip) => IfAddr::V4(Ifv4Addr { ip, netmask: ip, prefixlen, broadcast: None }),
            IpAddr::V6(ip) => IfAddr::V6(Ifv6Addr { ip, netmask: ip, prefixlen, broadcast: None }),
        };
        let oper_status = IfOperStatus::Up;
        Interface { name: name.into(), addr, index: Some(2), oper_status, is_p2p: false }
    }

    fn names(all: &[Interface], bound: &[&str]) -> Vec<String> {
        let bound: Vec<SocketAddr> = bound.iter().map(|text| text.parse().unwrap()).collect();
        chosen(all, &bound).into_iter().map(|link| format!("{} {}", link.name, link.ip)).collect()
    }

    #[test]
    fn guests_and_tunnels_are_left_out_unless_there_is_nothing_else() {
        let guests = [
            interface("docker0", "172.17.0.1/16"),
            interface("br-0a", "172.18.0.1/16"),
            interface("veth1", "10.9.0.1/24"),
            interface("tun0", "10.8.0.2/24"),
        ];
        assert_eq!(names(&guests, &["0.0.0.0:7"]).len(), 4);
        let real = [interface("lo", "127.0.0.1/8"), interface("eth0", "192.168.1.5/24")];
        let all = [&guests[..], &real[..]].concat();
        assert_eq!(names(&all, &["0.0.0.0:7"]), ["eth0 192.168.1.5"]);
    }

    #[test]
    fn only_addresses_that_the_node_listens_on_are_announced() {
        let all = [
            interface("eth0", "192.168.1.5/24"),
            interface("eth0", "fd00::5/64"),
            interface("eth0", "fe80::5/64"),
            interface("wlan0", "10.1.1.5/24"),
        ];
        assert_eq!(names(&all, &["0.0.0.0:7"]), ["eth0 192.168.1.5", "wlan0 10.1.1.5"]);
        assert_eq!(names(&all, &["[::]:7"]), ["eth0 fd00::5"]);
        assert_eq!(names(&all, &["10.1.1.5:7"]), ["wlan0 10.1.1.5"]);
        assert_eq!(names(&all, &["127.0.0.1:7"]), [""; 0]);
        assert_eq!(names(&all, &["0.0.0.0:7", "[::]:7"]).len(), 3);
    }

    #[test]
    fn an_address_elsewhere_is_on_no_network_of_this_machine() {
        let bound = ["0.0.0.0:7".parse().unwrap(), "[::]:7".parse().unwrap()];
        let all = [interface("eth0", "192.168.1.5/24"), interface("eth0", "fd00::5/64")];
        let links = chosen(&all, &bound);
        let covered = |ip: &str| links.iter().any(|link| link.covers(ip.parse().unwrap()));
        assert!(covered("192.168.1.200") && covered("fd00::1:2:3:4"));
        for ip in ["192.168.2.1", "9.9.9.9", "fd00:1::5", "2a00::1"] {
            assert!(!covered(ip), "{ip}");
        }
        let whole = chosen(&[interface("eth0", "10.0.0.1/0")], &bound);
        assert!(whole[0].covers("9.9.9.9".parse().unwrap()));
    }
}
