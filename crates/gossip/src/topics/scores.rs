//! Fault scores of nodes. Local only, never told to others; they decay with time.

use std::time::Duration;

use potluck_base::{Instant, LruMap, PublicKey};

/// After this time half of a score is forgiven.
const HALF_LIFE: Duration = Duration::from_secs(600);
/// How long a node is ignored.
const IGNORED_FOR: Duration = Duration::from_secs(600);
/// Score from which on a neighbour gets no eager pushes and no grafts.
const PRUNE_AT: u32 = 250;
/// Score from which on a node is ignored.
const IGNORE_AT: u32 = 500;
/// Nodes with a score; beyond it the least recently used one is forgotten.
const SCORES_MAX: usize = 1_024;

/// A fault and its weight in tenths of a point. All weights are guesses: none are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It forwarded a message with an invalid signature, which no honest node does.
    Forged,
    /// It did not deliver a message that it announced. Happens to honest nodes under overload.
    GraftUnanswered,
    /// It exceeded a rate limit.
    OverRate,
    /// It answered a request that was not made.
    Unsolicited,
}

impl Fault {
    const fn points(self) -> u32 {
        match self {
            Self::Forged => 200,
            Self::GraftUnanswered => 5,
            Self::OverRate => 2,
            Self::Unsolicited => 20,
        }
    }
}

/// The consequence of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Penalty {
    /// None.
    Tolerated,
    /// All its links become lazy.
    Pruned,
    /// It is ignored for ten minutes.
    Ignored,
}

#[derive(Debug, Clone, Copy)]
struct Score {
    points: u32,
    halved_at: Instant,
    ignored_until: Instant,
}

/// The scores of all nodes that committed a fault.
#[derive(Debug, Clone)]
pub(super) struct Scores {
    scores: LruMap<PublicKey, Score>,
}

impl Scores {
    pub(super) fn new() -> Self {
        Self { scores: LruMap::new(SCORES_MAX) }
    }

    pub(super) fn len(&self) -> usize {
        self.scores.len()
    }

    /// Whether a node is to be ignored.
    pub(super) fn ignores(&self, now: Instant, peer: &PublicKey) -> bool {
        self.scores.peek(peer).is_some_and(|score| now < score.ignored_until)
    }

    pub(super) fn fault(&mut self, now: Instant, peer: PublicKey, fault: Fault) -> Penalty {
        if self.scores.peek(&peer).is_none() {
            let score = Score { points: 0, halved_at: now, ignored_until: Instant::ZERO };
            self.scores.insert(peer, score);
        }
        let Some(score) = self.scores.get_mut(&peer) else { return Penalty::Tolerated };
        while now.since(score.halved_at) >= HALF_LIFE {
            score.points /= 2;
            score.halved_at = if score.points == 0 { now } else { score.halved_at + HALF_LIFE };
        }
        score.points = score.points.saturating_add(fault.points());
        match score.points {
            IGNORE_AT.. => {
                score.ignored_until = now + IGNORED_FOR;
                score.points = PRUNE_AT;
                Penalty::Ignored
            }
            PRUNE_AT.. => Penalty::Pruned,
            _ => Penalty::Tolerated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_base::Identity;

    #[test]
    fn a_forger_is_ignored_for_ten_minutes() {
        let (mut scores, peer) = (Scores::new(), Identity::from_seed([1; 32]).public_key());
        let penalties = [(); 3].map(|()| scores.fault(Instant::ZERO, peer, Fault::Forged));
        assert_eq!(penalties, [Penalty::Tolerated, Penalty::Pruned, Penalty::Ignored]);
        assert!(scores.ignores(Instant::ZERO + IGNORED_FOR - Duration::from_micros(1), &peer));
        assert!(!scores.ignores(Instant::ZERO + IGNORED_FOR, &peer));
    }

    #[test]
    fn small_faults_are_forgiven_as_fast_as_they_are_made() {
        let (mut scores, peer) = (Scores::new(), Identity::from_seed([1; 32]).public_key());
        for minute in 0..2_000 {
            let now = Instant::ZERO + Duration::from_secs(60 * minute);
            assert_eq!(scores.fault(now, peer, Fault::GraftUnanswered), Penalty::Tolerated);
        }
    }

    #[test]
    fn half_is_forgiven_in_ten_minutes() {
        let peer = Identity::from_seed([1; 32]).public_key();
        for (seconds, penalty) in [(599, Penalty::Pruned), (1_200, Penalty::Pruned)] {
            let mut scores = Scores::new();
            scores.fault(Instant::ZERO, peer, Fault::Forged);
            let later = Instant::ZERO + Duration::from_secs(seconds);
            assert_eq!(scores.fault(later, peer, Fault::Forged), penalty);
        }
        let mut scores = Scores::new();
        scores.fault(Instant::ZERO, peer, Fault::Forged);
        let later = Instant::ZERO + Duration::from_secs(1_800);
        assert_eq!(scores.fault(later, peer, Fault::Forged), Penalty::Tolerated);
    }

    #[test]
    fn an_ignored_node_returns_with_half_of_its_score() {
        let (mut scores, peer) = (Scores::new(), Identity::from_seed([1; 32]).public_key());
        (0..3).for_each(|_| {
            scores.fault(Instant::ZERO, peer, Fault::Forged);
        });
        let later = Instant::ZERO + IGNORED_FOR;
        assert_eq!(scores.fault(later, peer, Fault::Forged), Penalty::Pruned);
    }
}
