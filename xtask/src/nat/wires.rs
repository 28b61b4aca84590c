//! The virtual links of a pair: the public network in the middle, machines and routers around it.
//!
//! Public addresses are from 203.0.113.0/24 (RFC 5737), those between a home router and its carrier's router
//! from 100.64.0.0/10 (RFC 6598). All namespaces are below those of this run, and those of one pair are
//! removed before the next pair's are made.

use super::kind::{Kind, Kinds, Router};
use crate::node::{self, HTTP, PORT};
use crate::tools::{call, call_with};

/// Prefix of the namespaces' names.
const PREFIX: &str = "nat-";
/// The namespace with the bridge that is the public network.
const CORE: &str = "nat-core";
/// The public nodes.
const PUBLIC: usize = 3;

/// A machine with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// One of the public nodes, from 0.
    Public(usize),
    /// Behind the first router.
    A,
    /// Behind the second router.
    B,
}

impl Place {
    /// All of them, the entry point first.
    pub(super) const ALL: [Self; PUBLIC + 2] =
        [Self::Public(0), Self::Public(1), Self::Public(2), Self::A, Self::B];

    pub(super) fn name(self) -> String {
        match self {
            Self::Public(index) => format!("p{}", index + 1),
            Self::A => "a".to_owned(),
            Self::B => "b".to_owned(),
        }
    }

    /// The namespace of the machine.
    pub(super) fn namespace(self) -> String {
        format!("{PREFIX}{}", self.name())
    }

    /// The node there. The first one is the entry point of the others.
    pub(super) fn node(self) -> node::Place {
        let ip = match self {
            Self::Public(_) => self.public_address(),
            Self::A | Self::B => "0.0.0.0".to_owned(),
        };
        let first = Self::Public(0);
        let entry = format!("{}:{PORT}", first.public_address());
        node::Place {
            name: self.name(),
            namespace: self.namespace(),
            listen: format!("{ip}:{PORT}"),
            http: HTTP.to_owned(),
            entry: (self != first).then_some(entry),
        }
    }

    /// The third number of its addresses.
    const fn site(self) -> usize {
        match self {
            Self::Public(_) => 0,
            Self::A => 1,
            Self::B => 2,
        }
    }

    /// Its address in the public network, or that of its outermost router.
    pub(super) fn public_address(self) -> String {
        match self {
            Self::Public(index) => format!("203.0.113.{}", index + 1),
            Self::A | Self::B => format!("203.0.113.{}", 10 * self.site()),
        }
    }
}

/// A network interface.
#[derive(Debug, Clone, Copy)]
struct Interface<'a> {
    /// The namespace that it is in.
    namespace: &'a str,
    /// Its name in this namespace.
    device: &'a str,
}

/// The namespaces of one pair, removed when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Wires {
    namespaces: Vec<String>,
    /// Numbers the ports of the bridge.
    ports: usize,
}

impl Wires {
    /// Makes the public network and everything around it.
    pub(super) fn make(kinds: Kinds) -> Result<Self, String> {
        let mut wires = Self::default();
        wires.namespace(CORE)?;
        call(&format!("ip -n {CORE} link add public type bridge"))?;
        call(&format!("ip -n {CORE} link set public up"))?;
        for index in 0..PUBLIC {
            wires.site(Place::Public(index), Kind::None)?;
        }
        wires.site(Place::A, kinds.a)?;
        wires.site(Place::B, kinds.b)?;
        Ok(wires)
    }

    fn namespace(&mut self, name: &str) -> Result<(), String> {
        call(&format!("ip netns add {name}"))?;
        self.namespaces.push(name.to_owned());
        call(&format!("ip -n {name} link set lo up"))
    }

    /// A machine, and the routers between it and the public network.
    fn site(&mut self, place: Place, kind: Kind) -> Result<(), String> {
        // The namespace that the next one inwards is linked to; `None` is the public network.
        let mut outer: Option<String> = None;
        for (depth, router) in kind.routers().iter().enumerate() {
            let name = format!("{}-router{depth}", place.namespace());
            self.namespace(&name)?;
            let inner = Interface { namespace: &name, device: "wan" };
            self.wire(place, outer.as_deref(), depth, inner)?;
            route(&name, *router)?;
            outer = Some(name);
        }
        let host = place.namespace();
        self.namespace(&host)?;
        let inner = Interface { namespace: &host, device: "eth0" };
        self.wire(place, outer.as_deref(), kind.routers().len(), inner)
    }

    /// Links a namespace to the one outside of it and gives both ends their addresses.
    fn wire(
        &mut self,
        place: Place,
        outer: Option<&str>,
        depth: usize,
        inner: Interface<'_>,
    ) -> Result<(), String> {
        let Interface { namespace: inner, device } = inner;
        let Some(outer) = outer else {
            self.ports += 1;
            let port = format!("port{}", self.ports);
            call(&format!(
                "ip -n {CORE} link add {port} type veth peer name {device} netns {inner}"
            ))?;
            call(&format!("ip -n {CORE} link set {port} master public up"))?;
            return address(inner, device, &format!("{}/24", place.public_address()));
        };
        let is_host = device == "eth0";
        let subnet = subnet(place, depth, is_host);
        call(&format!("ip -n {outer} link add lan type veth peer name {device} netns {inner}"))?;
        address(outer, "lan", &format!("{subnet}.1/24"))?;
        address(inner, device, &format!("{subnet}.2/24"))?;
        call(&format!("ip -n {inner} route add default via {subnet}.1"))
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        for name in &self.namespaces {
            // The sandbox removes what is left.
            let _ = call(&format!("ip netns del {name}"));
        }
    }
}

/// The first three numbers of the addresses between a namespace and its router.
fn subnet(place: Place, depth: usize, is_host: bool) -> String {
    let site = place.site();
    if is_host { format!("10.{site}.0") } else { format!("100.64.{}", 16 * site + depth) }
}

fn address(namespace: &str, device: &str, address: &str) -> Result<(), String> {
    call(&format!("ip -n {namespace} addr add {address} dev {device}"))?;
    call(&format!("ip -n {namespace} link set {device} up"))
}

/// Configures a namespace as a router.
fn route(namespace: &str, router: Router) -> Result<(), String> {
    call_with(&format!("ip netns exec {namespace} tee /proc/sys/net/ipv4/ip_forward"), "1\n")?;
    call_with(&format!("ip netns exec {namespace} nft -f -"), &router.rules())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_places_share_an_address_or_a_namespace() {
        for (index, place) in Place::ALL.into_iter().enumerate() {
            for other in &Place::ALL[..index] {
                assert_ne!(place.namespace(), other.namespace());
                assert_ne!(place.public_address(), other.public_address());
            }
        }
        assert_ne!(subnet(Place::A, 1, true), subnet(Place::B, 1, true));
        assert_ne!(subnet(Place::A, 1, false), subnet(Place::B, 1, false));
    }

    #[test]
    fn names_of_namespaces_begin_with_the_prefix() {
        assert!(Place::ALL.iter().all(|place| place.namespace().starts_with(PREFIX)));
        assert!(CORE.starts_with(PREFIX));
    }
}
