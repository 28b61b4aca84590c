//! Nodes behind routers. Their address is a private one to which no other node can send.

use std::net::{Ipv4Addr, SocketAddr};

use potluck_dht::EntryPoint;

use crate::nat::{Nat, NatKind};
use crate::sim_node::NodeIndex;
use crate::world::World;
use crate::world::shard::Local;

impl World {
    /// Adds a node behind its own router. It starts at once and has these entry points.
    pub fn spawn_behind(&mut self, kind: NatKind, entries: Vec<EntryPoint>) -> NodeIndex {
        let index = self.add(entries);
        let number = self.shared.routers.len();
        let low = [(number / 250) as u8, (number % 250 + 1) as u8];
        let outer = Ipv4Addr::new(100, 127, low[0], low[1]).into();
        let node = &mut self.shard_of(index).nodes[index];
        node.place.nat = Some(Box::new(Nat::new(kind, outer)));
        // The port stays the same. Many homes have the same private addresses.
        let address = (Ipv4Addr::new(192, 168, 0, 2), node.peer.contact.address.port()).into();
        let old = std::mem::replace(&mut node.peer.contact.address, address);
        let shared = self.shared_mut();
        shared.directory.remove(&old);
        shared.routers.insert(outer, index);
        self.note(format!("{index} is behind a router at {outer}"));
        self.start(index);
        index
    }

    /// Restarts the router of a node: its mappings are lost.
    pub fn restart_router(&mut self, node: NodeIndex) {
        self.note(format!("the router of {node} starts anew"));
        if let Some(nat) = &mut self.shard_of(node).nodes[node].place.nat {
            nat.restart();
        }
    }
}

impl Local<'_> {
    /// The source address that the network sees for a packet of a node to this address.
    pub(crate) fn source(&mut self, node: NodeIndex, to: SocketAddr) -> SocketAddr {
        let now = self.shard.now;
        let node = &mut self.shard.nodes[node];
        let inner = node.peer.contact.address;
        node.place.nat.as_mut().map_or(inner, |nat| nat.outbound(now, inner, to))
    }

    /// Whether a node still has this outer address.
    pub(crate) fn has_address(&self, node: NodeIndex, address: SocketAddr) -> bool {
        self.shared.owner(address) == Some(node)
    }

    /// Whether a packet from one address to another of a node passes the node's router, if it has one.
    pub(crate) fn lets_in(&mut self, node: NodeIndex, from: SocketAddr, to: SocketAddr) -> bool {
        let now = self.shard.now;
        let nat = self.shard.nodes[node].place.nat.as_mut();
        nat.is_none_or(|nat| nat.inbound(now, from, to.port()).is_some())
    }

    /// The node that a connection from `node` to an address reaches, in a world of one shard.
    pub(crate) fn dialed(&mut self, node: NodeIndex, to: SocketAddr) -> Option<NodeIndex> {
        let from = self.source(node, to);
        let owner = self.shared.owner(to)?;
        self.lets_in(owner, from, to).then_some(owner)
    }
}
