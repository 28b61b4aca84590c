//! Disjoint paths against nodes that answer with accomplices only (Baumgart and Mies, S/Kademlia, ICPADS
//! 2007). A path ends at the first such node; a lookup succeeds if one path hears of the closest node.

use super::kademlia::Kademlia;
use super::ring::Ring;
use crate::draw::{below, mix2};

/// Nodes that a path asks before it is given up.
const STEPS_MAX: usize = 64;
const ASKERS: u64 = 7;

/// The share of lookups that succeed where a share of the nodes are adversaries. Paths ask one node at a
/// time, and no node is on two of them.
#[must_use]
pub fn clean_paths(nodes: usize, adversaries: f64, paths: usize, lookups: u64, seed: u64) -> f64 {
    // Adversaries take the places of the dead: chosen at random, with random ids.
    let ring = Ring::new(nodes, adversaries, seed);
    let overlay = Kademlia { close_group: 16, ..Kademlia::default() };
    let succeeded = (0..lookups).filter(|number| {
        let draw = mix2(mix2(seed, ASKERS), *number);
        let mut asker = below(draw, ring.len());
        while ring.is_dead(asker) {
            asker = (asker + 1) % ring.len();
        }
        lookup(&ring, &overlay, asker, mix2(draw, 1), paths.max(1))
    });
    succeeded.count() as f64 / lookups.max(1) as f64
}

fn lookup(ring: &Ring, overlay: &Kademlia, asker: usize, target: u64, paths: usize) -> bool {
    let distance = |node: u32| ring.id(node as usize) ^ target;
    let closest = ring.closest(target, 2).into_iter().find(|node| *node as usize != asker);
    let mut found = Vec::with_capacity(128);
    overlay.answer(ring, asker, target, &mut found);
    if closest.is_some_and(|node| found.contains(&node)) {
        return true;
    }
    // The contacts of the asker are dealt out to the paths.
    let mut lists: Vec<Vec<u32>> = vec![Vec::new(); paths];
    found.iter().enumerate().for_each(|(at, node)| lists[at % paths].push(*node));
    let mut used: Vec<u32> = vec![asker as u32];
    let mut ended = vec![false; paths];
    for _ in 0..STEPS_MAX {
        for (list, ended) in lists.iter_mut().zip(&mut ended) {
            if *ended {
                continue;
            }
            let free = list.iter().filter(|node| !used.contains(node));
            let Some(node) = free.copied().min_by_key(|node| distance(*node)) else {
                *ended = true;
                continue;
            };
            used.push(node);
            if ring.is_dead(node as usize) {
                *ended = true;
                continue;
            }
            overlay.answer(ring, node as usize, target, &mut found);
            if closest.is_some_and(|node| found.contains(&node)) {
                return true;
            }
            list.extend(found.iter().filter(|node| !used.contains(node)));
        }
        if ended.iter().all(|ended| *ended) {
            break;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_paths_survive_more_adversaries() {
        let share = |paths| clean_paths(2000, 0.2, paths, 400, 1);
        let (one, two, eight) = (share(1), share(2), share(8));
        assert!(one < two && two < eight && eight > 0.98, "{one} {two} {eight}");
        assert!(clean_paths(500, 0.0, 1, 100, 1) > 0.999);
    }
}
