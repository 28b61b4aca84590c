//! A prepared network: its nodes know each other from the start, so that a run about something else does not
//! spend most of its time on joining.
//!
//! Each node gets what a join would have given it: contacts in its routing table, and the records of members.
//! It makes its sessions and overlay links itself, as every node does.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Rng};
use potluck_gossip::members::ModeChoice;

use crate::sim_node::NodeIndex;
use crate::world::World;
use crate::world::deliver::Event;
use crate::world::shard::Local;

/// All nodes start within this time.
const STARTS: Duration = Duration::from_secs(1);
/// Contacts on each side of a node in the order of ids. They include its close group.
const NEAR: usize = 64;
/// Random contacts. More would not fit into most tables.
const FAR: usize = 192;

impl World {
    /// Adds `count` nodes that start within a second and know each other then. Their entry points are those
    /// of [`World::grow`], for later starts.
    pub fn prepare(&mut self, count: usize) -> Vec<NodeIndex> {
        let mut rng = self.fork_rng("grow");
        let mut nodes = Vec::with_capacity(count);
        for number in 0..count {
            let entries = self.entry_points(&mut rng);
            let index = self.add(Vec::new());
            let at = self.now + STARTS.mul_f64(number as f64 / count as f64);
            self.at(index, |local| local.shard.plan(index, at, Event::Start(index)));
            nodes.push((index, entries));
        }
        self.run_for(STARTS);
        for (index, entries) in &mut nodes {
            self.shard_of(*index).nodes[*index].entries = std::mem::take(entries);
        }
        let nodes: Vec<NodeIndex> = nodes.into_iter().map(|(index, _)| index).collect();
        self.acquaint(&nodes, &mut rng);
        nodes
    }

    fn acquaint(&mut self, nodes: &[NodeIndex], rng: &mut Rng) {
        let fleet = self.config().node.members.mode == ModeChoice::Fleet;
        let mut ring = nodes.to_vec();
        ring.sort_unstable_by_key(|node| self.node(*node).peer.id);
        let record = |node: &NodeIndex| Some(self.node(*node).machine()?.members().own_record());
        let records: Vec<Bytes> = ring.iter().filter_map(record).collect();
        for (place, index) in ring.iter().enumerate() {
            let known = acquaintances(place, ring.len(), rng);
            let contact = |place: &usize| self.node(ring[*place]).peer.contact;
            let contacts: Vec<Contact> = known.iter().map(contact).collect();
            let some = known.iter().filter_map(|place| records.get(*place)).cloned();
            let records = if fleet { records.clone() } else { some.collect() };
            self.at(*index, |local| local.acquaint(*index, &contacts, &records));
        }
    }
}

/// The positions, in the order of ids, of the nodes that one of them knows.
fn acquaintances(place: usize, count: usize, rng: &mut Rng) -> BTreeSet<usize> {
    let near = (1..=NEAR.min(count - 1))
        .flat_map(|step| [(place + step) % count, (place + count - step) % count]);
    let mut known: BTreeSet<usize> = near.collect();
    known.extend((0..FAR).map(|_| rng.below(count as u64) as usize));
    known.remove(&place);
    known
}

impl Local<'_> {
    fn acquaint(&mut self, node: NodeIndex, contacts: &[Contact], records: &[Bytes]) {
        let now = self.shard.now;
        let Some(process) = self.shard.nodes[node].process.as_mut() else { return };
        process.machine.acquaint(process.local(now), contacts, records);
        self.shard.trace(node, b"know", &(records.len() as u64).to_le_bytes());
        self.drain(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_knows_its_neighbours_in_the_order_of_ids_and_some_others() {
        let mut rng = Rng::from_number(1);
        assert_eq!(acquaintances(0, 3, &mut rng), [1, 2].into());
        assert!(acquaintances(0, 1, &mut rng).is_empty());
        let known = acquaintances(10, 5_000, &mut rng);
        assert!((11..=74).chain(0..10).chain(4_946..5_000).all(|place| known.contains(&place)));
        assert!((300..=320).contains(&known.len()), "{}", known.len());
    }
}
