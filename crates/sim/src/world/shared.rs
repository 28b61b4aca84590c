//! What all shards of a world read: parameters, the network, and which node has which address.
//!
//! **Invariant:** it changes only between two runs, by scenarios, never while time passes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use potluck_base::{Identity, Instant, NetworkId, UnixMillis};

use crate::network::{Endpoint, Network};
use crate::sim_node::NodeIndex;
use crate::world::strangers::stranger_number;
use crate::world::{HostileIndex, WorldConfig};

/// What an exact wall clock shows at the start of every world: 15 January 2027.
const EPOCH: UnixMillis = UnixMillis(1_800_000_000_000);

/// See the module.
pub(crate) struct Shared {
    pub(crate) config: WorldConfig,
    /// In `invite` networks.
    pub(crate) authority: Option<Identity>,
    pub(crate) network_id: NetworkId,
    pub(crate) network: Network,
    pub(crate) directory: BTreeMap<SocketAddr, NodeIndex>,
    /// The outer addresses of routers, with the node behind each.
    pub(crate) routers: BTreeMap<IpAddr, NodeIndex>,
    pub(crate) hostiles: BTreeMap<SocketAddr, HostileIndex>,
    /// Into how many shards the nodes are divided.
    pub(crate) shards: usize,
}

/// The receiver of a datagram, as it was when the datagram was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recipient {
    Node(NodeIndex),
    Hostile(HostileIndex),
    /// Nothing is there.
    Stranger,
}

impl Shared {
    /// The shard that a node is in.
    pub(crate) const fn home(&self, node: NodeIndex) -> usize {
        node.get() % self.shards
    }

    /// The node that has this address on the side of the network, whether it lets anything in or not.
    pub(crate) fn owner(&self, address: SocketAddr) -> Option<NodeIndex> {
        let behind = || self.routers.get(&address.ip()).copied();
        self.directory.get(&address).copied().or_else(behind)
    }

    /// What is behind an address.
    pub(crate) fn recipient(&self, address: SocketAddr) -> Recipient {
        match (self.owner(address), self.hostiles.get(&address)) {
            (Some(node), _) => Recipient::Node(node),
            (None, Some(hostile)) => Recipient::Hostile(*hostile),
            (None, None) => Recipient::Stranger,
        }
    }

    /// The shard in which a datagram to it arrives; `None`: in any, because nothing is there.
    pub(crate) const fn receiving(&self, recipient: Recipient) -> Option<usize> {
        match recipient {
            Recipient::Node(node) => Some(self.home(node)),
            Recipient::Hostile(_) => Some(0),
            Recipient::Stranger => None,
        }
    }

    /// Names what is behind an address, as the network sees it.
    pub(crate) fn endpoint(&self, address: SocketAddr) -> Endpoint {
        match self.owner(address) {
            Some(node) => Endpoint::Node(node),
            None => Endpoint::Stranger(stranger_number(address)),
        }
    }

    /// What an exact wall clock shows.
    pub(crate) fn wall_clock(now: Instant) -> UnixMillis {
        EPOCH.plus(now.since(Instant::ZERO))
    }
}
