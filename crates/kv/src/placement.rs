//! Which nodes keep a key, as seen from one node: the r closest of its siblings and itself; and
//! which keys a node that came or went can concern.

use potluck_base::{Distance, Key, NodeId, Peer};

/// The nodes around this one at some moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Neighbourhood {
    /// This node and its siblings, in no particular order.
    nodes: Vec<Peer>,
}

impl Neighbourhood {
    /// The neighbourhood of `me` with these siblings.
    #[must_use]
    pub fn new(me: Peer, siblings: impl IntoIterator<Item = Peer>) -> Self {
        Self { nodes: std::iter::once(me).chain(siblings).collect() }
    }

    /// The same without one node.
    #[must_use]
    pub fn without(&self, id: &NodeId) -> Self {
        Self { nodes: self.nodes.iter().filter(|peer| peer.id != *id).copied().collect() }
    }

    /// Whether `id` is in it.
    #[must_use]
    pub fn contains(&self, id: &NodeId) -> bool {
        self.nodes.iter().any(|peer| peer.id == *id)
    }

    /// The `r` closest to `key`, closest first.
    #[must_use]
    pub fn replica_set(&self, key: &Key, r: usize) -> Vec<Peer> {
        let mut all: Vec<(Distance, Peer)> =
            self.nodes.iter().map(|peer| (peer.distance(key), *peer)).collect();
        all.sort_unstable_by_key(|(distance, _)| *distance);
        all.into_iter().take(r).map(|(_, peer)| peer).collect()
    }

    /// Whether all nodes that share as many leading bits with `me` as `key` does are in here, so
    /// that the replica set of `key` can be told: the farthest of the `siblings_max` closest nodes
    /// must lie outside of that subtree, or there are no more nodes than these.
    #[must_use]
    pub fn surrounds(&self, me: &NodeId, key: &Key, siblings_max: usize) -> bool {
        let place = Key::from(*me);
        let shared = place.common_prefix(key);
        self.nodes.len() <= siblings_max
            || self.nodes.iter().any(|peer| place.common_prefix(&peer.id.into()) < shared)
    }

    /// Who is in `self` but not in `other`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Vec<Peer> {
        self.nodes.iter().filter(|peer| !other.contains(&peer.id)).copied().collect()
    }

    /// The shortest prefix of `node`'s place (in bits) that holds all keys it can be a replica of.
    ///
    /// A key that shares exactly c bits with the node lies in the subtree beside it at depth c.
    /// Every node in that subtree is closer to the key than `node`; if there are r of them, no such
    /// key concerns it.
    #[must_use]
    pub fn reach(&self, node: &NodeId, r: usize) -> u32 {
        let place = Key::from(*node);
        let mut beside = [0_usize; 257];
        for peer in self.nodes.iter().filter(|peer| peer.id != *node) {
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
        let around = Neighbourhood::new(peers[0], peers[1..].iter().copied());
        let mut rng = Rng::from_number(7);
        let mut concerned = 0;
        for node in &peers[..20] {
            let reach = around.reach(&node.id, 5);
            for _ in 0..500 {
                let key = Key::from_bytes(rng.bytes());
                let is_replica = around.replica_set(&key, 5).contains(node);
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
        let all = Neighbourhood::new(peers[0], peers[1..].iter().copied());
        let mut others = peers[1..].to_vec();
        others.sort_by_key(|peer| peer.distance(&peers[0].id.into()));
        let around = Neighbourhood::new(peers[0], others[..48].iter().copied());
        let mut rng = Rng::from_number(9);
        let (mut near, mut far) = (0, 0);
        for _ in 0..3000 {
            let key = Key::from_bytes(rng.bytes());
            if around.surrounds(&peers[0].id, &key, 48) {
                near += 1;
                let mine = all.replica_set(&key, 5).contains(&peers[0]);
                assert_eq!(around.replica_set(&key, 5).contains(&peers[0]), mine);
            } else {
                far += 1;
                assert!(!all.replica_set(&key, 5).contains(&peers[0]));
            }
        }
        assert!(near > 100 && far > 100, "{near} near, {far} far");
    }

    #[test]
    fn in_a_small_network_every_key_concerns_everybody() {
        let peers = peers(4);
        let around = Neighbourhood::new(peers[0], peers[1..].iter().copied());
        assert_eq!(around.reach(&peers[2].id, 5), 0);
        assert_eq!(around.replica_set(&Key::from_bytes([3; 32]), 5).len(), 4);
    }
}
