//! Nodes behind routers: their address is a private one that no other node can send to.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use potluck_dht::EntryPoint;

use crate::nat::{Nat, NatKind};
use crate::sim_node::NodeIndex;
use crate::world::World;

/// The routers, each with one node behind it.
#[derive(Debug, Default)]
pub(crate) struct Routers {
    nats: BTreeMap<NodeIndex, Nat>,
    by_outer: BTreeMap<IpAddr, NodeIndex>,
}

impl World {
    /// Adds a node behind a router of its own; it starts at once and knows these entry points.
    pub fn spawn_behind(&mut self, kind: NatKind, entries: Vec<EntryPoint>) -> NodeIndex {
        let index = self.add(entries);
        let number = self.routers.nats.len();
        let low = [(number / 250) as u8, (number % 250 + 1) as u8];
        let contact = &mut self.nodes[index.get()].peer.contact;
        self.directory.remove(&contact.address);
        // The port stays; many homes have the same addresses.
        contact.address = (Ipv4Addr::new(192, 168, 0, 2), contact.address.port()).into();
        let outer = Ipv4Addr::new(100, 127, low[0], low[1]).into();
        self.routers.nats.insert(index, Nat::new(kind, outer));
        self.routers.by_outer.insert(outer, index);
        self.note(format!("{index} is behind a router at {outer}"));
        self.start(index);
        index
    }

    /// The router of a node starts anew: its mappings are gone.
    pub fn restart_router(&mut self, node: NodeIndex) {
        self.note(format!("the router of {node} starts anew"));
        if let Some(nat) = self.routers.nats.get_mut(&node) {
            nat.restart();
        }
    }

    /// From where the network sees a packet of a node to this address come.
    pub(crate) fn source(&mut self, node: NodeIndex, to: SocketAddr) -> SocketAddr {
        let inner = self.nodes[node.get()].peer.contact.address;
        let now = self.now;
        self.routers.nats.get_mut(&node).map_or(inner, |nat| nat.outbound(now, inner, to))
    }

    /// The node that has this address on the side of the network, whether it lets anything in or not.
    pub(crate) fn owner(&self, address: SocketAddr) -> Option<NodeIndex> {
        let behind = || self.routers.by_outer.get(&address.ip()).copied();
        self.directory.get(&address).copied().or_else(behind)
    }

    /// The node that gets a packet from one address to another.
    pub(crate) fn receiver(&mut self, from: SocketAddr, to: SocketAddr) -> Option<NodeIndex> {
        let node = self.owner(to)?;
        let now = self.now;
        match self.routers.nats.get_mut(&node) {
            Some(nat) => nat.inbound(now, from, to.port()).map(|_| node),
            None => Some(node),
        }
    }

    /// The node that a connection from `node` to an address leads to.
    pub(crate) fn dialed(&mut self, node: NodeIndex, to: SocketAddr) -> Option<NodeIndex> {
        let from = self.source(node, to);
        self.receiver(from, to)
    }
}
