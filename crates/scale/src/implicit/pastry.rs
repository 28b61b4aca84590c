//! Pastry (Rowstron and Druschel, Middleware 2001) with computed rows: greedy by digits.

use super::chord::Route;
use super::ring::Ring;
use crate::draw::{below, mix2};

const ROWS: u64 = 4;
const HOPS_MAX: u32 = 100;
/// Entries of one place of a row that are tried before the node counts as unreachable.
const TRIES_MAX: u64 = 20;

/// Routes from `asker` to the node closest to `target`, with digits of `bits` and a leaf set of `leaves`.
pub(super) fn route(ring: &Ring, asker: usize, target: u64, bits: u32, leaves: usize) -> Route {
    let nodes = ring.len();
    let goal = ring.closest_living(target, 1, nodes).first().map_or(asker, |node| *node as usize);
    let (mut at, mut hops, mut timeouts) = (asker, 0, 0);
    while at != goal {
        hops += 1;
        if hops > HOPS_MAX {
            return Route { hops: None, timeouts };
        }
        let after = (goal + nodes - at) % nodes;
        if after.min(nodes - after) <= leaves / 2 {
            at = goal;
            continue;
        }
        let id = ring.id(at);
        let row = (id ^ target).leading_zeros() / bits;
        let range = ring.range(target, bits * (row + 1));
        if range.is_empty() {
            at = goal;
            continue;
        }
        let draws = mix2(mix2(ring.seed(), ROWS), id ^ (u64::from(row) << 56));
        let mut next = None;
        for draw in 0..TRIES_MAX {
            let node = range.start + below(mix2(draws, draw), range.len());
            if !ring.is_dead(node) {
                next = Some(node);
                break;
            }
            timeouts += 1;
        }
        match next {
            Some(node) => at = node,
            None => at = goal,
        }
    }
    Route { hops: Some(hops), timeouts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_arrives_and_is_about_log16_long() {
        let ring = Ring::new(1000, 0.0, 1);
        let hops: Vec<u32> =
            (0..500).filter_map(|n| route(&ring, 7, mix2(3, n), 4, 16).hops).collect();
        assert_eq!(hops.len(), 500);
        let mean = f64::from(hops.iter().sum::<u32>()) / 500.0;
        assert!((2.0..3.0).contains(&mean), "{mean}");
    }
}
