//! The spread of news, and the detection of dead nodes.

fn bounded(nodes: f64) -> f64 {
    if nodes.is_nan() { 2.0 } else { nodes.clamp(2.0, 1e15) }
}

/// Rounds of push gossip with fanout 1 until all of `nodes` know: log2 N + ln N (Pittel 1987).
#[must_use]
pub fn push_rounds(nodes: f64) -> f64 {
    bounded(nodes).log2() + bounded(nodes).ln()
}

/// Rounds of push-pull gossip until all of `nodes` know: log3 N + O(log log N) (Karp, Schindelhauer, Shenker
/// and Voecking, FOCS 2000); the second term is written as ln ln N less half a round, as simulated.
#[must_use]
pub fn push_pull_rounds(nodes: f64) -> f64 {
    let nodes = bounded(nodes);
    nodes.ln() / 3f64.ln() + (nodes.ln().ln() - 0.5).max(0.0)
}

/// Depth of a broadcast tree over random links, with `links` per node: ln N / ln (links - 1).
#[must_use]
pub fn tree_depth(nodes: f64, links: u32) -> f64 {
    bounded(nodes).ln() / f64::from(links.clamp(3, 1024) - 1).ln()
}

/// Probe periods until the first of all members finds a dead one: e / (e - 1), whatever the number of members
/// is (Das, Gupta and Motivala, SWIM, DSN 2002).
#[must_use]
pub fn first_detection_periods() -> f64 {
    let e = std::f64::consts::E;
    e / (e - 1.0)
}

/// Mean seconds until a node that checks another one every `interval_seconds`, with `tries` that wait
/// `timeout_seconds` each, detects its death: half an interval and all tries.
#[must_use]
pub fn detection_seconds(interval_seconds: f64, tries: u32, timeout_seconds: f64) -> f64 {
    interval_seconds.max(0.0) / 2.0 + f64::from(tries.max(1)) * timeout_seconds.max(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ten_million_nodes_know_within_some_rounds() {
        assert!((push_rounds(1e7) - 39.4).abs() < 0.1);
        assert!((tree_depth(1e7, 8) - 8.3).abs() < 0.1);
        assert!((push_pull_rounds(1e4) - 10.1).abs() < 0.2);
        assert!((first_detection_periods() - 1.582).abs() < 0.001);
        assert!((detection_seconds(5.0, 3, 0.5) - 4.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn more_nodes_take_longer_and_more_links_less(nodes in 2.0..1e14f64, links in 3u32..64) {
            prop_assert!(push_rounds(nodes * 2.0) > push_rounds(nodes));
            prop_assert!(push_pull_rounds(nodes * 2.0) > push_pull_rounds(nodes));
            prop_assert!(tree_depth(nodes * 2.0, links) > tree_depth(nodes, links));
            prop_assert!(tree_depth(nodes, links + 1) < tree_depth(nodes, links));
        }

        #[test]
        fn longer_intervals_and_more_tries_detect_later(interval in 0.1..1e4f64, tries in 1u32..10) {
            prop_assert!(detection_seconds(interval * 2.0, tries, 1.0) > detection_seconds(interval, tries, 1.0));
            prop_assert!(detection_seconds(interval, tries + 1, 1.0) > detection_seconds(interval, tries, 1.0));
        }
    }
}
