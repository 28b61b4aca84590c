//! Disjoint paths against nodes that answer with accomplices only (Baumgart and Mies, S/Kademlia, ICPADS
//! 2007, section 5).
//!
//! The setting is the paper's: a static network, tables that are full, one request at a time on each path.
//! A path ends at the first adversary that it asks, since the answer names adversaries only. It succeeds at
//! the first honest node that is one of the siblings of the target, since siblings know each other. A lookup
//! succeeds if one of its paths does.

use super::kademlia::Kademlia;
use super::ring::Ring;
use crate::draw::{below, mix2};

/// Nodes that a path asks before it is given up. It bounds the work; paths of 10^7 nodes have about 5.
const STEPS_MAX: usize = 64;
const ASKERS: u64 = 7;
/// Siblings of a key, as in the paper.
const SIBLINGS: usize = 16;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paths {
    /// Nodes, adversaries included.
    pub nodes: usize,
    /// The share of the nodes that are adversaries. Their ids are random.
    pub adversaries: f64,
    /// Paths of a lookup. No node is asked on two of them.
    pub paths: usize,
    /// Lookups of random keys by random honest nodes.
    pub lookups: u64,
    /// Makes it repeatable.
    pub seed: u64,
}

/// What came of the lookups.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Clean {
    /// The share of lookups with at least one path that met no adversary.
    pub succeeded: f64,
    /// Requests of a lookup over all its paths, on average.
    pub requests: f64,
}

/// Plays lookups with disjoint paths.
#[must_use]
pub fn clean_paths(paths: &Paths) -> Clean {
    // Adversaries take the places of the dead: chosen at random, with random ids.
    let ring = Ring::new(paths.nodes, paths.adversaries, paths.seed);
    let overlay = Kademlia { close_group: SIBLINGS, ..Kademlia::default() };
    let mut clean = Clean::default();
    for number in 0..paths.lookups {
        let draw = mix2(mix2(paths.seed, ASKERS), number);
        let mut asker = below(draw, ring.len());
        while ring.is_dead(asker) {
            asker = (asker + 1) % ring.len();
        }
        let (succeeded, requests) =
            lookup(&ring, &overlay, Asked { asker, target: mix2(draw, 1), paths: paths.paths });
        clean.succeeded += f64::from(u8::from(succeeded));
        clean.requests += requests as f64;
    }
    let lookups = paths.lookups.max(1) as f64;
    Clean { succeeded: clean.succeeded / lookups, requests: clean.requests / lookups }
}

struct Asked {
    asker: usize,
    target: u64,
    paths: usize,
}

#[derive(Debug, Clone, Default)]
struct Path {
    known: Vec<u32>,
    ended: bool,
}

/// Whether a path met no adversary, and the requests of all paths.
fn lookup(ring: &Ring, overlay: &Kademlia, asked: Asked) -> (bool, usize) {
    let Asked { asker, target, paths } = asked;
    let siblings = ring.closest(target, SIBLINGS);
    let mut found = Vec::with_capacity(128);
    overlay.answer(ring, asker, target, &mut found);
    // The contacts of the asker are dealt out to the paths.
    let mut paths = vec![Path::default(); paths.max(1)];
    let count = paths.len();
    found.iter().enumerate().for_each(|(at, node)| paths[at % count].known.push(*node));
    let mut used: Vec<u32> = vec![asker as u32];
    let (mut succeeded, mut requests) = (false, 0);
    for _ in 0..STEPS_MAX {
        for path in paths.iter_mut().filter(|path| !path.ended) {
            let free = path.known.iter().filter(|node| !used.contains(node));
            let next = free.copied().min_by_key(|node| ring.id(*node as usize) ^ target);
            let Some(node) = next else {
                path.ended = true;
                continue;
            };
            used.push(node);
            requests += 1;
            if ring.is_dead(node as usize) || siblings.contains(&node) {
                succeeded |= !ring.is_dead(node as usize);
                path.ended = true;
                continue;
            }
            overlay.answer(ring, node as usize, target, &mut found);
            path.known.extend(found.iter().filter(|node| !used.contains(node)));
        }
        if paths.iter().all(|path| path.ended) {
            break;
        }
    }
    (succeeded, requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(nodes: usize, adversaries: f64, paths: usize) -> Clean {
        clean_paths(&Paths { nodes, adversaries, paths, lookups: 400, seed: 1 })
    }

    #[test]
    fn more_paths_survive_more_adversaries_and_cost_more_requests() {
        let [one, two, eight] = [1, 2, 8].map(|paths| share(2000, 0.2, paths));
        assert!(
            one.succeeded < two.succeeded && two.succeeded < eight.succeeded,
            "{one:?} {two:?}"
        );
        assert!(eight.succeeded > 0.98, "{eight:?}");
        assert!(one.requests < two.requests && two.requests < eight.requests);
        assert!(share(500, 0.0, 1).succeeded > 0.999);
    }

    #[test]
    fn the_success_of_one_path_is_that_of_each_of_its_nodes() {
        let clean = share(10_000, 0.0, 1);
        let independent = 0.8_f64.powf(clean.requests);
        let one = clean_paths(&Paths { lookups: 4000, ..paths_of_ten_thousand() });
        assert!((one.succeeded - independent).abs() < 0.03, "{one:?} {independent}");
    }

    fn paths_of_ten_thousand() -> Paths {
        Paths { nodes: 10_000, adversaries: 0.2, paths: 1, lookups: 400, seed: 1 }
    }
}
