//! How many nodes must say something that cannot be checked before this node believes it.
//!
//! Signatures prove what a record holds, and nothing proves what a replica lacks, that a newer version exists
//! elsewhere, or what time it is. Such claims count by how many of the closest nodes make them. Up to a fifth
//! of a replica set may lie together: 3 of 16.

use potluck_base::NodeId;

use crate::core::Core;

/// The part of a replica set that may lie together: one in this many. Raising it trusts smaller groups, and
/// reads end with fewer answers.
const LIARS_ONE_IN: usize = 5;

/// Nodes of a replica set of `replicas` that may lie together.
const fn liars(replicas: usize) -> usize {
    replicas.saturating_sub(1) / LIARS_ONE_IN
}

impl Core {
    /// Replicas of a key in a network of this size.
    fn replicas(&self) -> usize {
        self.members.min(self.replication()).max(1)
    }

    /// Answers that must agree before a read ends, at least: more than may lie together.
    pub(crate) fn agreement(&self) -> u16 {
        if self.config.defences.quorum_claims { liars(self.replicas()) as u16 + 1 } else { 1 }
    }

    /// Nodes that must claim something before it is believed, of `asked` that might have.
    pub(crate) fn believed_from(&self, asked: usize, without: u16) -> u16 {
        if !self.config.defences.quorum_claims {
            return without;
        }
        (liars(self.replicas()) + 1).max(2).min(asked.max(1)) as u16
    }

    /// Whether so few nodes make a claim that they may lie together.
    pub(crate) fn may_lie(&self, claiming: usize) -> bool {
        self.config.defences.quorum_claims && claiming <= liars(self.replicas())
    }

    /// Nodes that must show an envelope dated ahead before this node concludes that its clock is behind: most
    /// of the replicas; most of those that `answered` when no further answer comes.
    pub(crate) fn clock_witnesses(&self, answered: Option<usize>, without: u16) -> u16 {
        if self.config.defences.quorum_claims {
            let all = answered.unwrap_or_else(|| self.replicas());
            without.max(all as u16 / 2 + 1)
        } else {
            without
        }
    }
}

/// Nodes that make one claim.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Claimants {
    nodes: Vec<NodeId>,
}

impl Claimants {
    /// Counts a node, once.
    pub(crate) fn add(&mut self, node: NodeId) {
        if !self.nodes.contains(&node) {
            self.nodes.push(node);
        }
    }

    pub(crate) fn len(&self) -> u16 {
        self.nodes.len() as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_a_replica_set_is_not_believed() {
        let expected = [(1, 0), (3, 0), (5, 0), (6, 1), (8, 1), (11, 2), (15, 2), (16, 3), (32, 6)];
        for (replicas, most) in expected {
            assert_eq!(liars(replicas), most, "{replicas}");
        }
    }
}
