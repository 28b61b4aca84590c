//! The plan of a run: which faults affect which nodes and when, drawn from the seed before the run begins.

use std::time::Duration;

use potluck_base::Rng;

use super::nemesis::Nemesis;

/// Shortest episode, in seconds.
const EPISODE_MIN: u64 = 7;
/// Longest episode, in seconds.
const EPISODE_MAX: u64 = 23;
/// Shortest and longest time between two episodes, in seconds.
const BETWEEN: (u64, u64) = (6, 14);
/// Time without faults at the beginning, in seconds.
const CALM: u64 = 5;

/// One fault with a begin and an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Episode {
    pub(super) nemesis: Nemesis,
    /// The affected nodes.
    pub(super) nodes: Vec<usize>,
    /// A choice within the nemesis: a direction, a sign.
    pub(super) is_other_way: bool,
    /// Time before it begins.
    pub(super) after: Duration,
    /// How long it lasts.
    pub(super) lasts: Duration,
}

/// All episodes of a run: every nemesis is used once before one is used again.
pub(super) fn draw(seed: u64, nodes: usize, minutes: u64, nemeses: &[Nemesis]) -> Vec<Episode> {
    let mut rng = Rng::from_number(seed).fork("plan");
    let mut left = Duration::from_secs(60 * minutes).saturating_sub(Duration::from_secs(CALM));
    let mut episodes = Vec::new();
    let mut deck = Vec::new();
    while !nemeses.is_empty() {
        if deck.is_empty() {
            deck = nemeses.to_vec();
            rng.shuffle(&mut deck);
        }
        let Some(nemesis) = deck.pop() else { break };
        let mut order: Vec<usize> = (0..nodes).collect();
        rng.shuffle(&mut order);
        order.truncate(nemesis.struck(nodes, &mut rng));
        let between = |rng: &mut Rng, (least, most): (u64, u64)| {
            Duration::from_millis(1000 * least + rng.below(1000 * (most - least)))
        };
        let after = match episodes.is_empty() {
            true => Duration::from_secs(CALM),
            false => between(&mut rng, BETWEEN),
        };
        let lasts = between(&mut rng, (EPISODE_MIN, EPISODE_MAX));
        if after + lasts > left {
            break;
        }
        left -= after + lasts;
        let is_other_way = rng.chance(0.5);
        episodes.push(Episode { nemesis, nodes: order, is_other_way, after, lasts });
    }
    episodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_plan_and_another_seed_another() {
        let draw = |seed| draw(seed, 9, 10, &Nemesis::ALL);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn every_nemesis_comes_in_ten_minutes_and_all_fits_in() {
        for seed in 0..20 {
            let plan = draw(seed, 9, 10, &Nemesis::ALL);
            for nemesis in Nemesis::ALL {
                assert!(plan.iter().any(|episode| episode.nemesis == nemesis), "seed {seed}");
            }
            let all: Duration = plan.iter().map(|episode| episode.after + episode.lasts).sum();
            assert!(all <= Duration::from_secs(600), "seed {seed}: {all:?}");
            for episode in &plan {
                assert!(episode.lasts >= Duration::from_secs(EPISODE_MIN));
                assert!(episode.lasts <= Duration::from_secs(EPISODE_MAX));
                assert!(!episode.nodes.is_empty() && episode.nodes.len() <= 9);
            }
        }
    }
}
