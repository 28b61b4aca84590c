//! Chord (Stoica et al., SIGCOMM 2001) with computed fingers: greedy, one node at a time.

use super::ring::Ring;

/// Hops after which a lookup is given up.
const HOPS_MAX: u32 = 200;

/// The result of routing to the node that is responsible for an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    /// Hops; `None` if it was given up.
    pub(super) hops: Option<u32>,
    /// Tries of dead nodes.
    pub(super) timeouts: u32,
}

/// Routes from `asker` to the successor of `target` with a list of `successors`. A dead finger costs a
/// timeout, and the next lower one is used. Each hop at least halves the distance.
pub(super) fn route(ring: &Ring, asker: usize, target: u64, successors: usize) -> Route {
    let nodes = ring.len();
    let mut goal = ring.successor(target);
    while ring.is_dead(goal) && goal != asker {
        goal = (goal + 1) % nodes;
    }
    let (mut at, mut hops, mut timeouts) = (asker, 0, 0);
    while at != goal {
        hops += 1;
        if hops > HOPS_MAX {
            return Route { hops: None, timeouts };
        }
        let gap = (goal + nodes - at) % nodes;
        if gap <= successors {
            at = goal;
            continue;
        }
        let distance = target.wrapping_sub(ring.id(at));
        let mut next = None;
        for bit in (0..64 - distance.leading_zeros()).rev() {
            let finger = ring.successor(ring.id(at).wrapping_add(1 << bit));
            if finger == at || ring.id(finger).wrapping_sub(ring.id(at)) > distance {
                continue;
            }
            if ring.is_dead(finger) {
                timeouts += 1;
                continue;
            }
            next = Some(finger);
            break;
        }
        // Without a live finger, the route continues over the list of successors.
        let after = (1..=successors).map(|step| (at + step) % nodes);
        let living = || after.into_iter().find(|node| !ring.is_dead(*node));
        match next.or_else(living) {
            Some(node) => at = node,
            None => return Route { hops: None, timeouts },
        }
    }
    Route { hops: Some(hops), timeouts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::mix2;

    #[test]
    fn each_route_arrives_and_is_about_half_of_log2_long() {
        let ring = Ring::new(1000, 0.0, 1);
        let hops: Vec<u32> = (0..500).filter_map(|n| route(&ring, 7, mix2(3, n), 1).hops).collect();
        assert_eq!(hops.len(), 500);
        let mean = f64::from(hops.iter().sum::<u32>()) / 500.0;
        assert!((4.5..6.5).contains(&mean), "{mean}");
    }

    #[test]
    fn dead_fingers_cost_timeouts() {
        let ring = Ring::new(1000, 0.3, 1);
        let routes: Vec<Route> = (0..200).map(|n| route(&ring, 7, mix2(3, n), 16)).collect();
        assert!(routes.iter().all(|route| route.hops.is_some()));
        assert!(routes.iter().any(|route| route.timeouts > 0));
    }
}
