//! Rounds of push, push-pull and trees; periods until a failed member is found.

use crate::draw::Stream;

/// Most rounds of a run.
const ROUNDS_MAX: u32 = 500;

/// Rounds until all of `nodes` know, if each node that knows sends to one random other node per round.
#[must_use]
pub fn push(nodes: usize, seed: u64) -> u32 {
    spread(nodes, seed, false)
}

/// Rounds until all of `nodes` know, if each node contacts one random other node per round and both send.
#[must_use]
pub fn push_pull(nodes: usize, seed: u64) -> u32 {
    spread(nodes, seed, true)
}

fn spread(nodes: usize, seed: u64, pull: bool) -> u32 {
    let mut draws = Stream::new(seed, 71);
    let nodes = nodes.max(2);
    // The round in which each node received it.
    let mut knows = vec![u32::MAX; nodes];
    knows[0] = 0;
    let mut count = 1;
    for round in 1..=ROUNDS_MAX {
        for node in 0..nodes {
            if !pull && knows[node] >= round {
                continue;
            }
            let other = (node + 1 + draws.below(nodes - 1)) % nodes;
            let (told, asked) = (knows[node] < round, knows[other] < round);
            if told && knows[other] == u32::MAX {
                (knows[other], count) = (round, count + 1);
            }
            if pull && asked && knows[node] == u32::MAX {
                (knows[node], count) = (round, count + 1);
            }
        }
        if count == nodes {
            return round;
        }
    }
    ROUNDS_MAX
}

/// The mean and the greatest depth of a broadcast over random links, with `links` per node on average.
#[must_use]
pub fn tree(nodes: usize, links: usize, seed: u64) -> (f64, u32) {
    let mut draws = Stream::new(seed, 72);
    let nodes = nodes.max(2);
    let mut ends: Vec<Vec<u32>> = vec![Vec::new(); nodes];
    for node in 0..nodes {
        for _ in 0..links.div_ceil(2) {
            let other = (node + 1 + draws.below(nodes - 1)) % nodes;
            ends[node].push(other as u32);
            ends[other].push(node as u32);
        }
    }
    let mut depth = vec![u32::MAX; nodes];
    depth[0] = 0;
    let mut queue = vec![0u32];
    let mut at = 0;
    while let Some(node) = queue.get(at).copied() {
        at += 1;
        for other in &ends[node as usize] {
            if depth[*other as usize] == u32::MAX {
                depth[*other as usize] = depth[node as usize] + 1;
                queue.push(*other);
            }
        }
    }
    let reached: Vec<u32> = depth.into_iter().filter(|depth| *depth != u32::MAX).collect();
    let sum: u64 = reached.iter().map(|depth| u64::from(*depth)).sum();
    (sum as f64 / reached.len() as f64, reached.into_iter().max().unwrap_or(0))
}

/// Mean periods until the first of `nodes` members probes a failed one, if each probes one random other
/// member per period, over `trials` failures; and the mean number of probes that a member received in a
/// period.
#[must_use]
pub fn first_detection(nodes: usize, trials: u32, seed: u64) -> (f64, f64) {
    let mut draws = Stream::new(seed, 73);
    let nodes = nodes.max(3);
    let (mut periods, mut received) = (0u64, 0u64);
    for _ in 0..trials.max(1) {
        for _ in 0..ROUNDS_MAX {
            periods += 1;
            let mut found = false;
            // Member 0 failed. Each other member draws one of the others.
            for member in 1..nodes {
                let probed = (member + 1 + draws.below(nodes - 1)) % nodes;
                found |= probed == 0;
                received += u64::from(probed == 1);
            }
            if found {
                break;
            }
        }
    }
    (periods as f64 / f64::from(trials.max(1)), received as f64 / periods as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    #[test]
    fn rounds_are_those_of_the_papers() {
        let middle = |rounds: &dyn Fn(u64) -> u32| {
            let all = (1..=5).map(|seed| f64::from(rounds(seed))).collect();
            crate::sample::spread(all)[1]
        };
        assert!((middle(&|seed| push(10_000, seed)) - model::push_rounds(1e4)).abs() <= 2.0);
        assert!(
            (middle(&|seed| push_pull(10_000, seed)) - model::push_pull_rounds(1e4)).abs() <= 1.5
        );
        let (mean, most) = tree(10_000, 8, 1);
        assert!((mean - model::tree_depth(1e4, 8)).abs() < 0.6 && most < 10, "{mean} {most}");
    }

    #[test]
    fn the_first_detection_does_not_depend_on_the_size() {
        for nodes in [100, 2000] {
            let (periods, load) = first_detection(nodes, 1000, 1);
            assert!((periods - model::first_detection_periods()).abs() < 0.08, "{nodes} {periods}");
            assert!((load - 1.0).abs() < 0.1, "{load}");
        }
    }
}
