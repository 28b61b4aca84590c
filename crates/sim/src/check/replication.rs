//! Replication: which nodes hold which records, according to the disks of the live nodes.

use std::collections::BTreeMap;

use potluck_base::{Key, Peer};
use potluck_record::{Place, StateDigest};

use crate::check::{Check, closest};
use crate::sim_node::NodeIndex;
use crate::world::World;

/// The holders of each key, with their states.
#[derive(Debug, Clone, Default)]
pub struct Census {
    holders: BTreeMap<Key, Vec<(NodeIndex, StateDigest)>>,
    /// The live nodes with their ids.
    peers: Vec<Peer>,
    index: BTreeMap<potluck_base::NodeId, NodeIndex>,
}

/// How well a set of records is replicated.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Replication {
    /// Records that were checked.
    pub records: usize,
    /// Records with at least the wanted number of replicas.
    pub full: usize,
    /// Records without a replica.
    pub gone: usize,
    /// Fewest replicas of a record.
    pub fewest: usize,
    /// Most replicas of a record.
    pub most: usize,
    /// The number of replicas of all records.
    pub replicas: usize,
    /// Pairs of a record and one of its true closest nodes.
    pub places: usize,
    /// Of these, the pairs in which the node holds the record.
    pub filled: usize,
    /// Records whose closest nodes hold different states.
    pub torn: usize,
}

impl Census {
    /// Reads the disks of all live nodes.
    pub fn take(world: &mut World) -> Self {
        let mut census = Self::default();
        for node in world.live() {
            let peer = *world.node(node).peer();
            census.peers.push(peer);
            census.index.insert(peer.id, node);
            for (key, digest) in world.disk(node).keys() {
                census.holders.entry(key).or_default().push((node, digest));
            }
        }
        census
    }

    /// The live nodes that hold a key.
    #[must_use]
    pub fn holders(&self, key: &Key) -> Vec<NodeIndex> {
        self.entries(key).iter().map(|(node, _)| *node).collect()
    }

    fn entries(&self, key: &Key) -> &[(NodeIndex, StateDigest)] {
        self.holders.get(key).map_or(&[], Vec::as_slice)
    }

    /// The `r` live nodes that should hold a key.
    #[must_use]
    pub fn replica_set(&self, key: &Key, r: usize) -> Vec<NodeIndex> {
        closest(&self.peers, key, r)
            .iter()
            .filter_map(|peer| self.index.get(&peer.id).copied())
            .collect()
    }

    /// The replication of `keys` if `r` replicas are wanted.
    #[must_use]
    pub fn replication(&self, keys: &[Key], r: usize) -> Replication {
        let wanted = r.min(self.peers.len());
        let mut all = Replication { fewest: usize::MAX, ..Replication::default() };
        for key in keys {
            let entries = self.entries(key);
            all.records += 1;
            all.full += usize::from(entries.len() >= wanted);
            all.gone += usize::from(entries.is_empty());
            all.fewest = all.fewest.min(entries.len());
            all.most = all.most.max(entries.len());
            all.replicas += entries.len();
            let set = self.replica_set(key, r);
            let states: Vec<StateDigest> = set
                .iter()
                .filter_map(|node| entries.iter().find(|(holder, _)| holder == node))
                .map(|(_, digest)| *digest)
                .collect();
            all.places += set.len();
            all.filled += states.len();
            let same = states.windows(2).all(|pair| pair[0] == pair[1]);
            all.torn += usize::from(!same || states.len() < set.len());
        }
        all.fewest = if keys.is_empty() { 0 } else { all.fewest };
        all
    }

    /// The largest share of `keys` that one node holds.
    #[must_use]
    pub fn largest_share(&self, keys: &[Key]) -> f64 {
        let mut held: BTreeMap<NodeIndex, usize> = BTreeMap::new();
        for key in keys {
            self.entries(key).iter().for_each(|(node, _)| *held.entry(*node).or_default() += 1);
        }
        held.values().max().copied().unwrap_or(0) as f64 / keys.len().max(1) as f64
    }
}

/// The state of a key at each node, closest first, to search for a cause: for each node its writers with the
/// times of their dots, and the number of values of each.
#[must_use]
pub fn dossier(world: &mut World, key: &Key, count: usize) -> String {
    let live = world.live();
    let peers = closest(&world.peers(&live), key, count);
    let mut lines = Vec::new();
    for peer in peers {
        let Some(node) = world.find(&peer.id) else { continue };
        let held = world.disk(node).envelopes(key, Place::Replica);
        let entries: Vec<String> = held
            .iter()
            .map(|envelope| {
                let writer = envelope.head().writer().node_id(world.network_id());
                let name = world.find(&writer).map_or_else(String::new, |node| node.to_string());
                let values = envelope.head().values().len();
                format!("{name} {:?} x{values}", envelope.head().dot())
            })
            .collect();
        lines.push(format!("{node} [{}]", entries.join(", ")));
    }
    lines.join(" ")
}

impl Replication {
    /// Whether every record has its replicas.
    #[must_use]
    pub fn check(&self) -> Check {
        let detail = format!(
            "{} of {} full; fewest {}, mean {:.2}, most {}; {} of {} places filled",
            self.full,
            self.records,
            self.fewest,
            self.replicas as f64 / self.records.max(1) as f64,
            self.most,
            self.filled,
            self.places
        );
        let passed = self.records > 0 && self.full == self.records;
        Check::new("every record has its replicas", passed, detail)
    }
}
