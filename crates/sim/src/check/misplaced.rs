//! Records at nodes that are not close to their keys: disk space that only their writer wants.

use std::collections::BTreeMap;

use potluck_base::Key;
use potluck_record::Place;

use crate::check::{Check, closest};
use crate::sim_node::NodeIndex;
use crate::world::World;

/// Whether none of `nodes` holds one of `keys` for which it is not among the `near` closest live nodes. After
/// nodes have left a network, surplus copies are correct: they are kept for a day.
pub fn check(world: &mut World, keys: &[Key], nodes: &[NodeIndex], near: usize) -> Check {
    let live = world.live();
    let peers = world.peers(&live);
    let mut far: BTreeMap<NodeIndex, usize> = BTreeMap::new();
    for key in keys {
        let close = closest(&peers, key, near);
        for node in nodes {
            let id = world.node(*node).peer().id;
            let is_near = close.iter().any(|peer| peer.id == id);
            if !is_near && !world.disk(*node).envelopes(key, Place::Replica).is_empty() {
                *far.entry(*node).or_default() += 1;
            }
        }
    }
    let wrong: Vec<String> = far
        .iter()
        .map(|(node, count)| format!("{node} holds {count} records that it is not near to"))
        .collect();
    Check::none_of("no node holds records that it is not near to", keys.len(), &wrong)
}
