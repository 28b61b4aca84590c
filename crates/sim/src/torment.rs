//! Random faults from a seed: crashes, pauses and wrong clocks, and their repair.

use std::collections::VecDeque;
use std::time::Duration;

use potluck_base::{Instant, Rng};

use crate::sim_node::NodeIndex;
use crate::world::World;

/// The random faults, as probabilities for one node and second.
#[derive(Debug, Clone, PartialEq)]
pub struct Torment {
    /// Of a crash.
    pub crash: f64,
    /// Of a pause.
    pub pause: f64,
    /// Of a clock that goes back.
    pub clock_back: f64,
    /// Crashed nodes stay down for up to this.
    pub downtime: Duration,
    /// Pauses last up to this.
    pub pause_time: Duration,
    /// Most nodes that are down at once.
    pub down_max: usize,
}

impl Torment {
    /// Crashes alone.
    #[must_use]
    pub const fn crashes(chance: f64, downtime: Duration, down_max: usize) -> Self {
        Self {
            crash: chance,
            pause: 0.0,
            clock_back: 0.0,
            downtime,
            pause_time: Duration::ZERO,
            down_max,
        }
    }
}

/// Causes random faults, and repairs them.
#[derive(Debug)]
pub struct Tormentor {
    torment: Torment,
    down: VecDeque<(Instant, NodeIndex)>,
    rng: Rng,
    /// Crashes so far.
    pub crashes: u64,
}

impl Tormentor {
    /// A source of random faults with its own randomness.
    #[must_use]
    pub const fn new(torment: Torment, rng: Rng) -> Self {
        Self { torment, down: VecDeque::new(), rng, crashes: 0 }
    }

    /// Causes faults for the part of a second until the next call.
    pub fn strike(&mut self, world: &mut World, nodes: &[NodeIndex], part: Duration) {
        let now = world.now();
        let back: Vec<NodeIndex> =
            self.down.iter().filter(|(at, _)| *at <= now).map(|(_, node)| *node).collect();
        self.down.retain(|(at, _)| *at > now);
        back.into_iter().for_each(|node| world.restart(node));
        let part = part.as_secs_f64();
        for node in nodes {
            if !world.node(*node).is_up() {
                continue;
            }
            if self.down.len() < self.torment.down_max && self.rng.chance(self.torment.crash * part)
            {
                world.crash(*node);
                self.crashes += 1;
                let time = self.torment.downtime.mul_f64(self.rng.fraction());
                self.down.push_back((now + time, *node));
            } else if self.rng.chance(self.torment.pause * part) {
                world.pause(*node, self.torment.pause_time.mul_f64(self.rng.fraction()));
            } else if self.rng.chance(self.torment.clock_back * part) {
                let by = Duration::from_secs(3600).mul_f64(self.rng.fraction());
                world.clock_back(*node, by);
            }
        }
    }

    /// Brings every node back.
    pub fn mend(&mut self, world: &mut World) {
        for (_, node) in std::mem::take(&mut self.down) {
            world.restart(node);
        }
    }
}
