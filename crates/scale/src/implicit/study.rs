//! Many lookups in one network, and their statistics.

use super::kademlia::Kademlia;
use super::ring::Ring;
use super::{chord, pastry};
use crate::draw::{below, mix2};
use crate::sample::Sample;

const ASKERS: u64 = 5;
const TARGETS: u64 = 6;
/// Askers whose tables are counted.
const TABLES: u64 = 2000;

/// The parameters of the measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Nodes.
    pub nodes: usize,
    /// The share of dead nodes, which are still in all tables.
    pub dead: f64,
    /// Lookups, each from another node and for another target.
    pub lookups: u64,
    /// The same seed gives the same network and lookups.
    pub seed: u64,
    /// Parameters of Kademlia.
    pub kademlia: Kademlia,
    /// Successors of Chord and leaves of Pastry.
    pub neighbours: usize,
}

/// Routes of an overlay that routes node by node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Routing {
    /// Hops of the completed routes.
    pub hops: Sample,
    /// Tries of dead nodes per route.
    pub timeouts: Sample,
}

/// The results.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// Hops until the closest live node was first named.
    pub hops: Sample,
    /// Hops until the last of the `k` closest was first named.
    pub depth: Sample,
    /// Requests per lookup.
    pub requests: Sample,
    /// Requests to dead nodes per lookup.
    pub timeouts: Sample,
    /// Rounds per lookup.
    pub rounds: Sample,
    /// Contacts in a table.
    pub table: Sample,
    /// Lookups that found the closest live node.
    pub closest_found: u64,
    /// Lookups that found all `k` closest live nodes.
    pub all_found: u64,
    /// Lookups.
    pub lookups: u64,
    /// Chord, with the same lookups.
    pub chord: Routing,
    /// Pastry with digits of 4 bits, with the same lookups.
    pub pastry: Routing,
}

/// Creates the network and measures.
#[must_use]
pub fn measure(setting: &Setting) -> Found {
    let ring = Ring::new(setting.nodes, setting.dead, setting.seed);
    let mut found = Found { lookups: setting.lookups, ..Found::default() };
    for number in 0..setting.lookups {
        let draw = mix2(mix2(setting.seed, ASKERS), number);
        let mut asker = below(draw, ring.len());
        // At most 99 of 100 nodes are dead.
        while ring.is_dead(asker) {
            asker = (asker + 1) % ring.len();
        }
        let target = mix2(mix2(setting.seed, TARGETS), number);
        let overlay = &setting.kademlia;
        let truth = ring.closest_living(target, overlay.k, asker);
        let lookup = overlay.lookup(&ring, asker, target, &truth);
        if let Some(hops) = lookup.hops {
            found.hops.add(u64::from(hops));
            found.closest_found += 1;
        }
        found.depth.add(u64::from(lookup.depth));
        found.requests.add(u64::from(lookup.requests));
        found.timeouts.add(u64::from(lookup.timeouts));
        found.rounds.add(u64::from(lookup.rounds));
        found.all_found += u64::from(lookup.all_found);
        if number < TABLES {
            found.table.add(overlay.table_size(&ring, asker) as u64);
        }
        let neighbours = setting.neighbours;
        for (routing, route) in [
            (&mut found.chord, chord::route(&ring, asker, target, neighbours)),
            (&mut found.pastry, pastry::route(&ring, asker, target, 4, neighbours)),
        ] {
            if let Some(hops) = route.hops {
                routing.hops.add(u64::from(hops));
            }
            routing.timeouts.add(u64::from(route.timeouts));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    fn setting(nodes: usize, dead: f64, lookups: u64) -> Setting {
        Setting { nodes, dead, lookups, seed: 1, kademlia: Kademlia::default(), neighbours: 16 }
    }

    #[test]
    fn a_thousand_nodes_are_two_hops_and_eighteen_requests_apart() {
        let found = measure(&setting(1000, 0.0, 2000));
        let close =
            |is: f64, should: f64| assert!((is / should - 1.0).abs() < 0.03, "{is} {should}");
        close(found.hops.mean(), 1.92);
        close(found.requests.mean(), 17.9);
        close(found.table.mean(), model::table_contacts(1000.0, 16));
        close(found.chord.hops.mean(), 3.98);
        close(found.pastry.hops.mean(), 2.41);
        assert_eq!((found.closest_found, found.all_found), (2000, 2000));
    }

    #[test]
    fn answers_of_32_find_all_closest_where_30_percent_are_dead() {
        let mut setting = setting(20_000, 0.3, 500);
        let few = measure(&setting);
        setting.kademlia.answer = 32;
        let many = measure(&setting);
        assert!(
            few.all_found < 200 && many.all_found > 480,
            "{} {}",
            few.all_found,
            many.all_found
        );
        assert!(many.requests.mean() < few.requests.mean() * 1.05);
    }

    #[test]
    fn the_formula_of_hops_fits_level_0() {
        for (nodes, k) in [(2000, 8), (2000, 32), (30_000, 16), (30_000, 8)] {
            let mut setting = setting(nodes, 0.0, 500);
            setting.kademlia.k = k;
            setting.kademlia.answer = k;
            let (is, should) =
                (measure(&setting).hops.mean(), model::hops(nodes as f64, k as u32, 3));
            assert!((is / should - 1.0).abs() < 0.06, "{nodes} {k}: {is} {should}");
        }
    }

    #[test]
    fn the_same_seed_measures_the_same() {
        assert_eq!(measure(&setting(500, 0.1, 50)), measure(&setting(500, 0.1, 50)));
    }
}
