//! Runs many commands, a bounded number of them at once.

use std::time::Duration;

use potluck_base::Rng;
use potluck_node::{Command, CommandId};

use crate::sim_node::NodeIndex;
use crate::world::{Outcome, World};

/// Interval in virtual time at which finished commands are replaced by new ones.
const TICK: Duration = Duration::from_millis(10);

/// Options for running many commands.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// Commands in flight at once.
    pub in_flight: usize,
    /// The time limit for all commands.
    pub bound: Duration,
}

impl Batch {
    /// Runs `count` commands made by `make` and returns their outcomes in the same order. `None` for commands
    /// that did not end within the limit.
    pub fn run(
        &self,
        world: &mut World,
        count: usize,
        mut make: impl FnMut(&mut World, usize) -> (NodeIndex, Command),
    ) -> Vec<Option<Outcome>> {
        let end = world.now() + self.bound;
        let mut outcomes: Vec<Option<Outcome>> = (0..count).map(|_| None).collect();
        let mut under_way: Vec<(CommandId, usize)> = Vec::new();
        let mut next = 0;
        loop {
            while next < count && under_way.len() < self.in_flight {
                let (node, command) = make(world, next);
                under_way.push((world.command(node, command), next));
                next += 1;
            }
            under_way.retain(|(id, index)| {
                outcomes[*index] = world.outcome(*id);
                outcomes[*index].is_none()
            });
            if (next == count && under_way.is_empty()) || world.now() >= end {
                return outcomes;
            }
            if !under_way.is_empty() {
                world.run_for(TICK);
            }
        }
    }
}

/// A random one of `nodes`.
///
/// # Panics
/// If the list is empty.
#[must_use]
pub fn pick(rng: &mut Rng, nodes: &[NodeIndex]) -> NodeIndex {
    assert!(!nodes.is_empty(), "there is a node to choose");
    nodes[rng.below(nodes.len() as u64) as usize]
}
