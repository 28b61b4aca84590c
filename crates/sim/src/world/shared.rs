//! The state that all shards of a world read: parameters, the network, and the nodes by address.
//!
//! **Invariant:** scenarios change it only between two runs of the shards, never while time passes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use potluck_base::{Identity, Instant, NetworkId, UnixMillis};

use crate::network::{Endpoint, Network};
use crate::sim_node::NodeIndex;
use crate::world::strangers::stranger_number;
use crate::world::{HostileIndex, WorldConfig};

/// The time of an exact wall clock at the start of every world: 15 January 2027.
const EPOCH: UnixMillis = UnixMillis(1_800_000_000_000);

/// The shared state. See the module.
pub(crate) struct Shared {
    pub(crate) config: WorldConfig,
    /// The authority, in `invite` networks.
    pub(crate) authority: Option<Identity>,
    pub(crate) network_id: NetworkId,
    pub(crate) network: Network,
    pub(crate) directory: BTreeMap<SocketAddr, NodeIndex>,
    /// The outer addresses of routers, with the node behind each.
    pub(crate) routers: BTreeMap<IpAddr, NodeIndex>,
    pub(crate) hostiles: BTreeMap<SocketAddr, HostileIndex>,
    /// The number of shards.
    pub(crate) shards: usize,
}

/// The receiver of a datagram at the time when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recipient {
    Node(NodeIndex),
    Hostile(HostileIndex),
    /// No node has the address.
    Stranger,
}

impl Shared {
    /// The shard of a node.
    pub(crate) const fn home(&self, node: NodeIndex) -> usize {
        node.get() % self.shards
    }

    /// The node with this outer address, whether its router admits packets or not.
    pub(crate) fn owner(&self, address: SocketAddr) -> Option<NodeIndex> {
        let behind = || self.routers.get(&address.ip()).copied();
        self.directory.get(&address).copied().or_else(behind)
    }

    /// The receiver at an address.
    pub(crate) fn recipient(&self, address: SocketAddr) -> Recipient {
        match (self.owner(address), self.hostiles.get(&address)) {
            (Some(node), _) => Recipient::Node(node),
            (None, Some(hostile)) => Recipient::Hostile(*hostile),
            (None, None) => Recipient::Stranger,
        }
    }

    /// The shard in which a datagram to it arrives. `None`: any shard, because no node has the address.
    pub(crate) const fn receiving(&self, recipient: Recipient) -> Option<usize> {
        match recipient {
            Recipient::Node(node) => Some(self.home(node)),
            Recipient::Hostile(_) => Some(0),
            Recipient::Stranger => None,
        }
    }

    /// The endpoint for an address, as the network sees it.
    pub(crate) fn endpoint(&self, address: SocketAddr) -> Endpoint {
        match self.owner(address) {
            Some(node) => Endpoint::Node(node),
            None => Endpoint::Stranger(stranger_number(address)),
        }
    }

    /// The time of an exact wall clock.
    pub(crate) fn wall_clock(now: Instant) -> UnixMillis {
        EPOCH.plus(now.since(Instant::ZERO))
    }
}
