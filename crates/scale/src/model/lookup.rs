//! Lookups: hops, requests, time and the size of a table.

/// The least number of nodes of a network in these formulas.
fn bounded(nodes: f64) -> f64 {
    if nodes.is_nan() { 2.0 } else { nodes.clamp(2.0, 1e15) }
}

/// Mean number of hops until a Kademlia lookup first learns of the closest node.
///
/// Each hop resolves one bit more than the answer's bucket, and the best of its `k` random contacts resolves
/// `log2 k + 0.83` further bits (the mean of the maximum of k exponentials). Asking `alpha` nodes at once
/// adds a part of `log2 alpha`. The form `c log N` is from Cai and Devroye, ISAAC 2013 (arXiv 1309.5866); the
/// constant term was fitted to level 0. It is within 4 % of level 0 for k from 8 to 32.
#[must_use]
pub fn hops(nodes: f64, k: u32, alpha: u32) -> f64 {
    let nodes = bounded(nodes);
    let k = f64::from(k.clamp(2, 64));
    let alpha = f64::from(alpha.clamp(1, 64));
    if nodes <= k + 1.0 {
        return 1.0;
    }
    let bits = 1.83 + k.log2() + 0.2 * alpha.log2();
    (nodes.log2() / bits + 0.1 * k.log2() - 0.08).max(1.0)
}

/// Mean number of requests of a Kademlia lookup for the `k` closest nodes, if a share `dead` of the contacts
/// in tables is dead. The k closest are asked at the end, and `alpha` nodes in each hop before.
#[must_use]
pub fn requests(nodes: f64, k: u32, alpha: u32, dead: f64) -> f64 {
    let all = (bounded(nodes) - 1.0).min(f64::from(k));
    let before = f64::from(alpha) * (hops(nodes, k, alpha) - 1.27).max(0.0);
    let dead = if dead.is_nan() { 0.0 } else { dead.clamp(0.0, 0.95) };
    (all + before) / (1.0 - dead)
}

/// The number of consecutive round trips of the same lookup.
#[must_use]
pub fn rounds(nodes: f64, k: u32, alpha: u32, dead: f64) -> f64 {
    requests(nodes, k, alpha, dead) / f64::from(alpha.max(1))
}

/// Seconds until a read has its answer from the closest holder, with round trips of `round_trip_seconds`. A
/// share `dead` of the contacts is dead and costs `timeout_seconds` each; with `alpha` requests at once a hop
/// waits only if all of them are dead.
#[must_use]
pub fn read_seconds(
    hops: f64,
    alpha: u32,
    round_trip_seconds: f64,
    dead: f64,
    timeout_seconds: f64,
) -> f64 {
    let all_dead = dead.clamp(0.0, 1.0).powi(alpha.clamp(1, 64) as i32);
    hops * (round_trip_seconds + all_dead * timeout_seconds)
}

/// Seconds until a lookup knows the `k` closest nodes, which a write needs.
#[must_use]
pub fn lookup_seconds(rounds: f64, round_trip_seconds: f64) -> f64 {
    rounds * round_trip_seconds
}

/// Contacts in a full Kademlia table of buckets of `k`: the sum over all buckets i of
/// `E[min(k, Bin(N - 1, 2^-(i + 1)))]` (Maymounkov and Mazieres, IPTPS 2002, for the buckets).
#[must_use]
pub fn table_contacts(nodes: f64, k: u32) -> f64 {
    let others = bounded(nodes) - 1.0;
    let k = k.clamp(1, 64);
    let mut all = 0.0;
    for bucket in 1..=60 {
        let share = 0.5f64.powi(bucket);
        let mean = others * share;
        if mean < 1e-9 {
            break;
        }
        all += expected_at_most(mean, share, f64::from(k));
    }
    all
}

/// `E[min(k, X)]` of a binomial X with this mean and this probability, by the sum of its first k terms.
fn expected_at_most(mean: f64, share: f64, k: f64) -> f64 {
    if mean > 4.0 * k + 60.0 {
        return k;
    }
    let trials = mean / share;
    let mut probability = (trials * (1.0 - share).ln()).exp();
    let (mut below, mut expected, mut x) = (0.0, 0.0, 0.0);
    while x < k {
        expected += x * probability;
        below += probability;
        probability *= (trials - x).max(0.0) / (x + 1.0) * share / (1.0 - share);
        x += 1.0;
    }
    expected + k * (1.0 - below).max(0.0)
}

/// Mean hops of Chord with fingers and `successors`: half of log2 N for the fingers (Stoica et al.,
/// SIGCOMM 2001), without the last ones, which the list of successors saves.
#[must_use]
pub fn chord_hops(nodes: f64, successors: u32) -> f64 {
    let saved = f64::from(successors.clamp(1, 1024)).log2() / 2.0;
    (bounded(nodes).log2() / 2.0 - saved + 1.0).max(1.0)
}

/// Mean hops of Pastry with digits of `bits` and a leaf set of `leaves`: log N to the base 2^bits (Rowstron
/// and Druschel, Middleware 2001), without the last ones, which the leaf set saves.
#[must_use]
pub fn pastry_hops(nodes: f64, bits: u32, leaves: u32) -> f64 {
    let bits = f64::from(bits.clamp(1, 8));
    let saved = f64::from(leaves.clamp(2, 1024) / 2).log2();
    ((bounded(nodes).log2() - saved) / bits * SHARE_OF_DIGITS + LAST_HOP).max(1.0)
}

/// Digits that a hop need not resolve: an entry shares the digit after that of its row by chance in one of 16
/// cases.
const SHARE_OF_DIGITS: f64 = 0.948;
/// Hops through the leaf set, fitted to level 0: some routes end at a node before the leaf set.
const LAST_HOP: f64 = 0.74;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_table_has_the_size_of_the_sum() {
        // k log2(N / k) + 0.9 k.
        for (nodes, size) in [(1e3, 110.0), (1e4, 163.0), (1e5, 216.0), (1e6, 269.0), (1e7, 323.0)]
        {
            let found = table_contacts(nodes, 16);
            assert!((found - size).abs() < 0.01 * size, "{nodes}: {found}");
        }
        assert!((table_contacts(5.0, 16) - 4.0).abs() < 0.01);
    }

    #[test]
    fn ten_million_nodes_are_four_hops_apart() {
        assert!((hops(1e7, 16, 3) - 4.09).abs() < 0.12);
        assert!((requests(1e7, 16, 3, 0.0) - 24.2).abs() < 1.0);
        assert!((requests(1e6, 16, 3, 0.3) - 31.0).abs() < 2.0);
    }

    proptest! {
        #[test]
        fn more_nodes_never_cost_less(nodes in 2.0..1e12f64, k in 2u32..33, alpha in 1u32..11, dead in 0.0..0.9f64) {
            let more = nodes * 1.5;
            prop_assert!(hops(more, k, alpha) >= hops(nodes, k, alpha));
            prop_assert!(requests(more, k, alpha, dead) >= requests(nodes, k, alpha, dead));
            prop_assert!(table_contacts(more, k) >= table_contacts(nodes, k) - 1e-6);
            prop_assert!(chord_hops(more, 16) >= chord_hops(nodes, 16));
            prop_assert!(pastry_hops(more, 4, 16) >= pastry_hops(nodes, 4, 16));
        }

        #[test]
        fn larger_buckets_are_fewer_hops_and_more_contacts(nodes in 100.0..1e12f64, k in 4u32..32) {
            prop_assert!(hops(nodes, k + 1, 3) <= hops(nodes, k, 3) + 0.05);
            prop_assert!(table_contacts(nodes, k + 1) >= table_contacts(nodes, k));
        }

        #[test]
        fn dead_contacts_cost_requests_and_time(nodes in 2.0..1e12f64, dead in 0.0..0.8f64) {
            prop_assert!(requests(nodes, 16, 3, dead + 0.1) > requests(nodes, 16, 3, dead));
            prop_assert!(read_seconds(4.0, 3, 0.1, dead + 0.1, 1.0) > read_seconds(4.0, 3, 0.1, dead, 1.0));
        }
    }

    #[test]
    fn odd_input_gives_finite_numbers() {
        for nodes in [f64::NAN, -1.0, 0.0, 1.0, f64::INFINITY] {
            assert!(hops(nodes, 0, 0).is_finite() && table_contacts(nodes, 0).is_finite());
            assert!(requests(nodes, 16, 3, f64::NAN).is_finite());
        }
    }
}
