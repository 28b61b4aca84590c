//! The addresses of a node: those of the interfaces, and those that it announces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::RwLock;
use potluck_base::{
    Address, AddressScope, Addresses, Contact, LocalAddress, is_dialable, is_global,
};
use potluck_node::{Input, OwnAddress};

/// The address to announce for sockets bound to `bound`: the best interface address that they receive at,
/// else the first of `bound`; `None` if there is none.
#[must_use]
pub(crate) fn reachable(bound: &[SocketAddr]) -> Option<SocketAddr> {
    let best = listened(&interfaces(), bound).first().map(|local| local.socket);
    best.or_else(|| {
        // Bound to an address that no interface has, or the system does not list its interfaces.
        let first = *bound.first()?;
        let ip: IpAddr = match first.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            given => given,
        };
        Some(SocketAddr::new(ip, first.port()))
    })
}

/// Prefixes of the names of interfaces that lead to containers and virtual machines of this machine.
const VIRTUAL: [&str; 7] = ["docker", "br-", "veth", "virbr", "cni", "vmnet", "podman"];

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Interface {
    name: String,
    ip: IpAddr,
    prefix_bits: u8,
}

impl Interface {
    /// Whether only containers and virtual machines of this machine are behind it.
    fn is_virtual(&self) -> bool {
        VIRTUAL.iter().any(|begin| self.name.starts_with(begin))
    }

    /// The rank of the address, lowest first: public, then private, then link-local.
    fn rank(&self) -> u8 {
        match self.ip {
            ip if is_global(ip) => 0,
            ip if AddressScope::of(ip) == AddressScope::LinkLocal => 2,
            _ => 1,
        }
    }
}

/// The addresses of this machine. They come from the interfaces and not from the routing table, since a
/// local network without a router has no default route.
fn interfaces() -> Vec<Interface> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    all.into_iter()
        .map(|it| {
            let prefix_bits = match &it.addr {
                if_addrs::IfAddr::V4(v4) => v4.prefixlen,
                if_addrs::IfAddr::V6(v6) => v6.prefixlen,
            };
            Interface { ip: it.ip(), name: it.name, prefix_bits }
        })
        .collect()
}

/// All addresses of this machine in one family.
pub(crate) fn of_family(ipv6: bool) -> Vec<IpAddr> {
    interfaces().into_iter().map(|it| it.ip).filter(|ip| ip.is_ipv6() == ipv6).collect()
}

/// Whether this machine has an address of a family. Loopback counts.
pub(crate) fn has_family(ipv6: bool) -> bool {
    !of_family(ipv6).is_empty()
}

/// The interface addresses that sockets bound to `bound` receive at, best first: for each interface and
/// family one public, one private and one link-local address; equal ones in the order of `bound`. Addresses
/// for containers and virtual machines, and loopback, only if there is no other.
fn listened(all: &[Interface], bound: &[SocketAddr]) -> Vec<LocalAddress> {
    let mut found: Vec<(u8, bool, &Interface, SocketAddr)> = Vec::new();
    for bound in bound {
        for interface in all.iter().filter(|it| it.ip.is_ipv6() == bound.is_ipv6()) {
            let ip = interface.ip;
            let socket = SocketAddr::new(ip, bound.port());
            let here = bound.ip().is_unspecified() || bound.ip() == ip;
            if !here || !is_dialable(&socket) {
                continue;
            }
            let (rank, given) = (interface.rank(), bound.ip() == ip);
            let like = |other: &(u8, bool, &Interface, SocketAddr)| {
                (other.0, &other.2.name, other.3.is_ipv6(), other.3.port())
                    == (rank, &interface.name, bound.is_ipv6(), bound.port())
            };
            if given || !found.iter().any(like) {
                found.push((rank, given, interface, socket));
            }
        }
    }
    let outward = |(_, given, interface, _): &(u8, bool, &Interface, SocketAddr)| {
        *given || !(interface.is_virtual() || interface.ip.is_loopback())
    };
    if found.iter().any(outward) {
        found.retain(outward);
    }
    let named = |socket: &SocketAddr| bound.iter().position(|bound| receives(*bound, *socket));
    found.sort_by_key(|(rank, _, interface, socket)| {
        (interface.ip.is_loopback(), *rank, named(socket), *socket)
    });
    let mut local: Vec<LocalAddress> = Vec::new();
    for (_, _, interface, socket) in found {
        if local.iter().all(|other| other.socket != socket) {
            local.push(LocalAddress { socket, prefix_bits: interface.prefix_bits });
        }
    }
    local
}

/// Whether a socket bound to `bound` receives at `socket`.
fn receives(bound: SocketAddr, socket: SocketAddr) -> bool {
    let all = bound.ip().is_unspecified() && bound.is_ipv6() == socket.is_ipv6();
    (all || bound.ip() == socket.ip()) && bound.port() == socket.port()
}

/// Watches the interfaces of the machine.
#[derive(Debug)]
pub(crate) struct Watch {
    bound: Vec<SocketAddr>,
    advertised: Option<SocketAddr>,
    last: Option<Vec<LocalAddress>>,
}

impl Watch {
    /// For a node that listens at `bound`. `advertised` is its configured address, if any.
    pub(crate) fn new(bound: Vec<SocketAddr>, advertised: Option<SocketAddr>) -> Self {
        Self { bound, advertised, last: None }
    }

    /// The input for the core, if the addresses have changed since the last call.
    pub(crate) fn look(&mut self) -> Option<Input> {
        let mut local = listened(&interfaces(), &self.bound);
        if local.is_empty() {
            // Bound to an address that no interface has any more, or the system does not list them.
            let given = self.bound.iter().filter(|bound| !bound.ip().is_unspecified());
            local.extend(given.map(|bound| LocalAddress::from(*bound)));
        }
        if self.last.as_ref() == Some(&local) {
            return None;
        }
        self.last = Some(local.clone());
        Some(Input::AddressesChanged { advertised: self.advertised.into_iter().collect(), local })
    }
}

/// The addresses that the node announces now, shared by all parts that announce them. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Whereabouts {
    node: Arc<RwLock<Addresses>>,
}

impl Whereabouts {
    pub(crate) fn new(contact: Contact) -> Self {
        Self { node: Arc::new(RwLock::new(contact.into())) }
    }

    /// The node with all its addresses, the preferred one first.
    pub(crate) fn node(&self) -> Addresses {
        self.node.read().clone()
    }

    /// The node at its preferred address.
    pub(crate) fn contact(&self) -> Contact {
        let node = self.node.read();
        node.contacts().next().expect("a node has an address of its own")
    }

    /// Sets the addresses to announce from now on.
    pub(crate) fn set(&self, addresses: &[OwnAddress]) {
        let ways: Vec<Address> = addresses.iter().map(|own| own.socket.into()).collect();
        if ways.is_empty() {
            return;
        }
        let before = self.contact();
        self.node.write().ways = ways;
        let contact = self.contact();
        if contact != before {
            tracing::info!(code = "address.changed", %contact, ?addresses, "others reach this node elsewhere now");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interfaces_of(texts: &[&str]) -> Vec<Interface> {
        let interface = |text: &&str| {
            let mut parts = text.split([' ', '/']);
            let name = parts.next().unwrap().to_owned();
            let ip = parts.next().unwrap().parse().unwrap();
            let prefix_bits = parts.next().unwrap().parse().unwrap();
            Interface { name, ip, prefix_bits }
        };
        texts.iter().map(interface).collect()
    }

    fn at(interfaces: &[&str], bound: &[&str]) -> Vec<String> {
        let bound: Vec<SocketAddr> = bound.iter().map(|text| text.parse().unwrap()).collect();
        let local = listened(&interfaces_of(interfaces), &bound);
        local.iter().map(|local| format!("{}/{}", local.socket, local.prefix_bits)).collect()
    }

    #[test]
    fn interfaces_are_named_best_first_and_loopback_only_if_nothing_else_is_there() {
        let all = [
            "lo 127.0.0.1/8",
            "lo ::1/128",
            "eth1 169.254.7.7/16",
            "eth0 192.168.7.9/24",
            "eth0 fe80::1/64",
            "eth0 fd00::5/64",
            "eth0 2a00::5/64",
            "eth0 2a00::6/64",
            "docker0 172.17.0.1/16",
        ];
        assert_eq!(at(&all, &["0.0.0.0:7"]), ["192.168.7.9:7/24", "169.254.7.7:7/16"]);
        let both = ["[2a00::5]:7/64", "192.168.7.9:7/24", "[fd00::5]:7/64", "169.254.7.7:7/16"];
        assert_eq!(at(&all, &["0.0.0.0:7", "[::]:7"]), both);
        assert_eq!(at(&all[..2], &["0.0.0.0:7"]), ["127.0.0.1:7/8"]);
        assert_eq!(at(&[all[0], all[8]], &["0.0.0.0:7"]), ["172.17.0.1:7/16", "127.0.0.1:7/8"]);
        assert_eq!(at(&all, &["172.17.0.1:7"]), ["172.17.0.1:7/16"]);
        assert_eq!(at(&all, &["[2a00::6]:7"]), ["[2a00::6]:7/64"]);
        assert_eq!(at(&all, &["10.9.9.9:7"]), [""; 0]);
        assert_eq!(at(&["eth0 10.0.0.1/8", "eth1 9.9.9.9/24"], &["0.0.0.0:7"])[0], "9.9.9.9:7/24");
    }

    #[test]
    fn an_unspecified_address_becomes_one_that_can_be_dialed() {
        for bound in ["0.0.0.0:7", "[::]:7"] {
            let bound: SocketAddr = bound.parse().unwrap();
            let reachable = reachable(&[bound]).unwrap();
            assert!(!reachable.ip().is_unspecified());
            assert_eq!(reachable.is_ipv6(), bound.is_ipv6());
            assert_eq!(reachable.port(), 7);
        }
        let given: SocketAddr = "127.0.0.1:9".parse().unwrap();
        assert_eq!(reachable(&[given]), Some(given));
        let named: [SocketAddr; 2] = ["[::1]:9", "127.0.0.1:9"].map(|text| text.parse().unwrap());
        let all = interfaces_of(&["lo 127.0.0.1/8", "lo ::1/128"]);
        let first = |bound: &[SocketAddr]| listened(&all, bound)[0].socket;
        assert_eq!((first(&named), first(&[named[1], named[0]])), (named[0], named[1]));
    }

    #[test]
    fn a_look_tells_only_what_changed() {
        let bound: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let mut watch = Watch::new(vec![bound], None);
        let Some(Input::AddressesChanged { local, .. }) = watch.look() else { panic!("no input") };
        assert_eq!(local.iter().map(|local| local.socket).collect::<Vec<_>>(), [bound]);
        assert_eq!(watch.look(), None);
    }
}
