//! `HyParView` and Plumtree (Leitao, Pereira and Rodrigues, DSN and SRDS 2007): small symmetric active views
//! that are repaired from larger passive ones, and a broadcast tree in them.

use crate::draw::Stream;

/// Links of a node, as in the paper: the fanout 4 plus one.
const ACTIVE: usize = 5;
/// Other nodes to which it could link.
const PASSIVE: usize = 30;

/// The effect of a mass failure.
#[derive(Debug, Clone, PartialEq)]
pub struct Healing {
    /// The share of the survivors that a broadcast reaches, right after the failure and after each cycle.
    pub reached: Vec<f64>,
    /// Surplus payloads per node of a second broadcast, over the tree that the first one left.
    pub redundancy: f64,
}

struct Views {
    active: Vec<Vec<u32>>,
    passive: Vec<Vec<u32>>,
    alive: Vec<bool>,
    draws: Stream,
}

/// Creates `nodes`, lets a share of them fail, and repairs for `cycles`.
#[must_use]
pub fn heal(nodes: usize, failed: f64, cycles: usize, seed: u64) -> Healing {
    let mut views = Views::new(nodes.max(50), seed);
    for node in 1..views.alive.len() {
        views.alive[node] = views.draws.unit() >= failed;
    }
    let mut reached = vec![views.broadcast().0];
    for _ in 0..cycles {
        views.repair();
        reached.push(views.broadcast().0);
    }
    let tree = views.broadcast().1;
    let (payloads, nodes) = views.over(&tree);
    let redundancy = payloads as f64 / (nodes as f64 - 1.0).max(1.0) - 1.0;
    Healing { reached, redundancy }
}

impl Views {
    fn new(nodes: usize, seed: u64) -> Self {
        let mut draws = Stream::new(seed, 81);
        let mut passive = vec![Vec::with_capacity(PASSIVE); nodes];
        for (node, view) in passive.iter_mut().enumerate() {
            while view.len() < PASSIVE {
                let other = (node + 1 + draws.below(nodes - 1)) % nodes;
                if !view.contains(&(other as u32)) {
                    view.push(other as u32);
                }
            }
        }
        let mut views =
            Self { active: vec![Vec::new(); nodes], passive, alive: vec![true; nodes], draws };
        (0..4).for_each(|_| views.repair());
        views
    }

    /// One cycle: each survivor drops dead links and replaces them from its passive view.
    fn repair(&mut self) {
        let mut order: Vec<usize> =
            (0..self.alive.len()).filter(|node| self.alive[*node]).collect();
        self.draws.shuffle(&mut order);
        for node in order {
            let alive = &self.alive;
            self.active[node].retain(|other| alive[*other as usize]);
            // Each candidate is tried once per cycle; dead ones are dropped.
            let tries = self.passive[node].len();
            for _ in 0..tries {
                if self.active[node].len() >= ACTIVE || self.passive[node].is_empty() {
                    break;
                }
                let place = self.draws.below(self.passive[node].len());
                let other = self.passive[node][place] as usize;
                if !self.alive[other] {
                    self.passive[node].swap_remove(place);
                    continue;
                }
                self.ask(node, other);
            }
        }
    }

    /// A node asks another for a link. A node without links has priority: the other one drops one of its own.
    fn ask(&mut self, node: usize, other: usize) {
        if other == node || self.active[node].contains(&(other as u32)) {
            return;
        }
        let alive = &self.alive;
        self.active[other].retain(|it| alive[*it as usize]);
        if self.active[other].len() >= ACTIVE {
            if !self.active[node].is_empty() {
                return;
            }
            let place = self.draws.below(self.active[other].len());
            let dropped = self.active[other].swap_remove(place) as usize;
            self.active[dropped].retain(|it| *it as usize != other);
            if self.passive[dropped].len() < PASSIVE {
                self.passive[dropped].push(other as u32);
            }
        }
        self.active[node].push(other as u32);
        self.active[other].push(node as u32);
    }

    /// Floods from the first survivor. Returns the share of survivors reached, and the link by which each was
    /// reached.
    fn broadcast(&self) -> (f64, Vec<(u32, u32)>) {
        let survivors = self.alive.iter().filter(|alive| **alive).count();
        let mut seen = vec![false; self.alive.len()];
        seen[0] = true;
        let (mut queue, mut tree, mut at) = (vec![0u32], Vec::new(), 0);
        while let Some(node) = queue.get(at).copied() {
            at += 1;
            for other in &self.active[node as usize] {
                if self.alive[*other as usize] && !seen[*other as usize] {
                    seen[*other as usize] = true;
                    tree.push((node, *other));
                    queue.push(*other);
                }
            }
        }
        (queue.len() as f64 / survivors as f64, tree)
    }

    /// A broadcast over eager links only. Returns the payloads sent, and the nodes that have the message.
    fn over(&self, tree: &[(u32, u32)]) -> (u64, usize) {
        let mut eager: Vec<Vec<u32>> = vec![Vec::new(); self.alive.len()];
        for (parent, child) in tree {
            eager[*parent as usize].push(*child);
            eager[*child as usize].push(*parent);
        }
        let mut from = vec![u32::MAX; self.alive.len()];
        from[0] = 0;
        let (mut queue, mut at, mut payloads) = (vec![0u32], 0, 0);
        while let Some(node) = queue.get(at).copied() {
            at += 1;
            for other in &eager[node as usize] {
                // A payload is not sent back over the link on which it arrived.
                if *other == from[node as usize] && node != 0 {
                    continue;
                }
                payloads += 1;
                if from[*other as usize] == u32::MAX {
                    from[*other as usize] = node;
                    queue.push(*other);
                }
            }
        }
        (payloads, queue.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_ninety_percent_failed_some_cycles_reach_nearly_all_again() {
        let healing = heal(5000, 0.9, 4, 1);
        assert!(healing.reached[0] < 0.5 && healing.reached[4] > 0.97, "{healing:?}");
        assert!(healing.redundancy.abs() < 1e-9);
        let whole = heal(1000, 0.0, 1, 1);
        assert!(whole.reached[0] > 0.999, "{whole:?}");
    }
}
