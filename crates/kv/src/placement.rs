//! The replica set of a key as seen from one node: of its close group and itself the r closest, and further
//! ones by the rule in [`crate::spread`]; and the keys that the arrival or loss of a node concerns.

use potluck_base::{Distance, Key, NodeId, Peer, PublicKey};
use potluck_record::Prefix;

use crate::spread::{Origin, Placed, Rule};

/// Whether a node is a replica of the keys of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Of all of them.
    Always,
    /// Of none of them.
    Never,
    /// Of some, or the range is too wide to tell.
    Mixed,
}

/// The nodes closest to this one, and itself, at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CloseGroup {
    /// This node and the nodes closest to it, in no particular order.
    nodes: Vec<Placed>,
    /// Nodes in the network as far as this group shows; `None`: not estimated.
    size: Option<f64>,
}

impl CloseGroup {
    /// The close group of `me`, which consists of it and these others.
    #[must_use]
    pub fn new(me: Peer, others: impl IntoIterator<Item = Peer>) -> Self {
        let placed = |peer| Placed { peer, origin: Origin::Unknown };
        Self { nodes: std::iter::once(me).chain(others).map(placed).collect(), size: None }
    }

    /// The same with what certificates say of its members.
    #[must_use]
    pub(crate) fn with_origins(mut self, mut of: impl FnMut(&PublicKey) -> Origin) -> Self {
        for placed in &mut self.nodes {
            placed.origin = of(&placed.peer.contact.public_key);
        }
        self
    }

    /// Whether the node of this key belongs to the group.
    pub(crate) fn has_key(&self, key: &PublicKey) -> bool {
        self.nodes.iter().any(|one| one.peer.contact.public_key == *key)
    }

    /// Notes what a certificate says of a member.
    pub(crate) fn learn_origin(&mut self, of: &PublicKey, origin: Origin) {
        for placed in self.nodes.iter_mut().filter(|one| one.peer.contact.public_key == *of) {
            placed.origin = origin;
        }
    }

    /// The same with an estimate of the size of the network. It is exact while the group has room for more than
    /// `close_group_size` others. Else the nearer half of the group gives one density of nodes and the farther
    /// half another, of which the lower counts: identities that were put next to one key are about equally far
    /// from `me`, so that they raise one of the two only.
    #[must_use]
    pub(crate) fn sized(mut self, me: &NodeId, close_group_size: usize) -> Self {
        let mut distances: Vec<f64> =
            self.others(me).map(|peer| peer.distance(&Key::from(*me)).fraction()).collect();
        distances.sort_unstable_by(f64::total_cmp);
        let (count, half) = (distances.len(), distances.len() / 2);
        let (Some(middle), Some(last)) = (distances.get(half.wrapping_sub(1)), distances.last())
        else {
            self.size = Some(self.nodes.len() as f64);
            return self;
        };
        let density = |nodes: usize, width: f64| nodes as f64 / width.max(1e-18);
        let estimate = density(half, *middle).min(density(count - half, last - middle)) + 1.0;
        let exact = self.nodes.len() as f64;
        self.size = Some(if count < close_group_size { exact } else { estimate.max(exact) });
        self
    }

    /// Nodes in the network as far as this group shows.
    pub(crate) const fn size(&self) -> Option<f64> {
        self.size
    }

    /// Whether this ticket let in half of the group or more, so that it is no sign that it let in most of
    /// those next to a key.
    pub(crate) fn is_common(&self, ticket: &PublicKey) -> bool {
        let origin = Origin::Ticket(*ticket);
        let count = self.nodes.iter().filter(|placed| placed.origin == origin).count();
        count * 2 >= self.nodes.len()
    }

    /// The same without one node.
    #[must_use]
    pub fn without(&self, id: &NodeId) -> Self {
        let nodes = self.nodes.iter().filter(|one| one.peer.id != *id).copied().collect();
        Self { nodes, size: self.size }
    }

    /// The same with these nodes besides.
    #[must_use]
    pub fn with(&self, others: impl IntoIterator<Item = Peer>) -> Self {
        let others = others.into_iter().map(|peer| Placed { peer, origin: Origin::Unknown });
        Self { nodes: self.nodes.iter().copied().chain(others).collect(), size: self.size }
    }

    /// Whether `id` belongs to the group.
    #[must_use]
    pub fn contains(&self, id: &NodeId) -> bool {
        self.nodes.iter().any(|one| one.peer.id == *id)
    }

    fn by_distance(&self, key: &Key) -> Vec<Placed> {
        let mut all: Vec<(Distance, Placed)> =
            self.nodes.iter().map(|placed| (placed.peer.distance(key), *placed)).collect();
        all.sort_unstable_by_key(|(distance, _)| *distance);
        all.into_iter().map(|(_, placed)| placed).collect()
    }

    /// The `count` closest to `key`, closest first.
    #[must_use]
    pub fn closest(&self, key: &Key, count: usize) -> Vec<Peer> {
        self.by_distance(key).into_iter().take(count).map(|placed| placed.peer).collect()
    }

    /// The replicas of `key` of which there are `r` where nothing is wrong, closest first.
    #[must_use]
    pub fn replica_set(&self, key: &Key, r: usize) -> Vec<Peer> {
        Rule { r, size: self.size }.replicas(key, &self.by_distance(key))
    }

    /// Whether the group contains all nodes that share as many leading bits with `me` as `key`
    /// does, so that it determines the replica set of `key`. The farthest of the `close_group_size`
    /// closest nodes must lie outside of that subtree, or the network has no other nodes.
    #[must_use]
    pub fn surrounds(&self, me: &NodeId, key: &Key, close_group_size: usize) -> bool {
        let place = Key::from(*me);
        let shared = place.common_prefix(key);
        self.nodes.len() <= close_group_size
            || self.nodes.iter().any(|one| place.common_prefix(&one.peer.id.into()) < shared)
    }

    /// The fewest leading bits that a member shares with `me`; `None` if the group has room for more, so
    /// that the network has no other nodes.
    #[must_use]
    pub fn least_shared(&self, me: &NodeId, close_group_size: usize) -> Option<u32> {
        if self.nodes.len() <= close_group_size {
            return None;
        }
        let place = Key::from(*me);
        self.nodes.iter().map(|one| place.common_prefix(&one.peer.id.into())).min()
    }

    /// Whether `node` is among the `r` closest to the keys of `range`.
    ///
    /// Which of two nodes is closer to a key is decided by the first bit in which their ids differ. If
    /// that bit belongs to the prefix, it is the same for all keys; if not, either node can be the closer.
    #[must_use]
    pub fn standing(&self, node: &NodeId, range: Prefix, r: usize) -> Standing {
        let place = Key::from(*node);
        let first = range.first();
        let (mut closer, mut either) = (0, 0);
        for peer in self.others(node) {
            let peer = Key::from(peer.id);
            if place.common_prefix(&peer) >= u32::from(range.length()) {
                either += 1;
            } else if peer.distance(&first) < place.distance(&first) {
                closer += 1;
            }
        }
        if closer >= r {
            Standing::Never
        } else if closer + either < r {
            Standing::Always
        } else {
            Standing::Mixed
        }
    }

    /// The members other than `me`.
    pub fn others(&self, me: &NodeId) -> impl Iterator<Item = &Peer> {
        self.nodes.iter().map(|one| &one.peer).filter(move |peer| peer.id != *me)
    }

    /// The nodes in `self` that are not in `other`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Vec<Peer> {
        let peers = self.nodes.iter().map(|one| one.peer);
        peers.filter(|peer| !other.contains(&peer.id)).collect()
    }

    /// A prefix length in bits: every key that `node` can be a replica of shares at least this many
    /// leading bits with its id.
    ///
    /// A key that shares exactly c bits with the node's id lies in the sibling subtree at depth c.
    /// Every node in that subtree is closer to the key than `node`; if it has r nodes, `node` is a
    /// replica of no such key.
    #[must_use]
    pub fn reach(&self, node: &NodeId, r: usize) -> u32 {
        let place = Key::from(*node);
        let mut beside = [0_usize; 257];
        for peer in self.others(node) {
            beside[place.common_prefix(&Key::from(peer.id)) as usize] += 1;
        }
        (0..256).find(|depth| beside[*depth] < r).unwrap_or(256) as u32
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::{Admission, Contact, Identity, NetworkId, Rng};

    use super::*;

    fn peers(count: u64) -> Vec<Peer> {
        let network = NetworkId::new("test", Admission::Lab, None);
        let mut rng = Rng::from_number(count);
        (0..count)
            .map(|_| {
                Contact::new(
                    Identity::from_seed(rng.bytes()).public_key(),
                    ([127, 0, 0, 1], 1).into(),
                )
                .in_network(&network)
            })
            .collect()
    }

    #[test]
    fn keys_beyond_the_reach_never_concern_the_node() {
        let peers = peers(200);
        let close_group = CloseGroup::new(peers[0], peers[1..].iter().copied());
        let mut rng = Rng::from_number(7);
        let mut concerned = 0;
        for node in &peers[..20] {
            let reach = close_group.reach(&node.id, 5);
            for _ in 0..500 {
                let key = Key::from_bytes(rng.bytes());
                let is_replica = close_group.replica_set(&key, 5).contains(node);
                concerned += usize::from(is_replica);
                let within = key.common_prefix(&node.id.into()) >= reach;
                assert!(within || !is_replica, "a key outside the reach has this replica");
            }
        }
        assert!(concerned > 0, "the test must have met keys that concern the node");
    }

    #[test]
    fn what_a_node_surrounds_it_places_as_the_whole_network_does() {
        let peers = peers(300);
        let all = CloseGroup::new(peers[0], peers[1..].iter().copied());
        let mut others = peers[1..].to_vec();
        others.sort_by_key(|peer| peer.distance(&peers[0].id.into()));
        let close_group = CloseGroup::new(peers[0], others[..48].iter().copied());
        let mut rng = Rng::from_number(9);
        let (mut near, mut far) = (0, 0);
        for _ in 0..3000 {
            let key = Key::from_bytes(rng.bytes());
            if close_group.surrounds(&peers[0].id, &key, 48) {
                near += 1;
                let mine = all.replica_set(&key, 5).contains(&peers[0]);
                assert_eq!(close_group.replica_set(&key, 5).contains(&peers[0]), mine);
            } else {
                far += 1;
                assert!(!all.replica_set(&key, 5).contains(&peers[0]));
            }
        }
        assert!(near > 100 && far > 100, "{near} near, {far} far");
    }

    #[test]
    fn a_key_in_the_subtree_of_a_group_with_room_for_more_is_not_surrounded() {
        let peers = peers(2);
        let (me, other) = (Key::from(peers[0].id), Key::from(peers[1].id));
        let close_group = CloseGroup::new(peers[0], [peers[1]]);
        let surrounds = |key: &Key, size| close_group.surrounds(&peers[0].id, key, size);
        assert!(!surrounds(&other, 1), "a node that is not known may be there");
        assert!(surrounds(&other, 2), "the network has no other nodes");
        assert!(surrounds(&me, 1), "the other node lies outside of the subtree");
    }

    #[test]
    fn the_difference_of_two_groups_is_what_one_of_them_has_alone() {
        let peers = peers(4);
        let before = CloseGroup::new(peers[0], peers[1..3].iter().copied());
        let after = CloseGroup::new(peers[0], peers[2..4].iter().copied());
        assert_eq!((after.minus(&before), before.minus(&after)), (vec![peers[3]], vec![peers[1]]));
        assert_eq!(after.without(&peers[3].id).minus(&before), []);
    }

    #[test]
    fn in_a_small_network_every_key_concerns_everybody() {
        let peers = peers(4);
        let close_group = CloseGroup::new(peers[0], peers[1..].iter().copied());
        assert_eq!(close_group.reach(&peers[2].id, 5), 0);
        assert_eq!(close_group.replica_set(&Key::from_bytes([3; 32]), 5).len(), 4);
    }
}
