//! Who is admitted in an `open` network: nodes that show the proof of both puzzles for an epoch that
//! is accepted now.
//!
//! A check costs a few hashes, and there are two budgets for checks: one of senders whose address is
//! proven, or that answer this node, and one of all others. A proof over its budget is not judged, its
//! datagram is dropped, and the sender shows the proof again with its next try. What was checked is
//! remembered with the session of a peer until it expires.
//!
//! **Invariants:** no node is admitted before the wall clock is known; proofs from forged addresses
//! cost no budget that a proven peer needs; a wrong proof has no effect on what is remembered.

use bytes::Bytes;
use potluck_base::{
    Difficulty, Instant, NetworkId, PublicKey, PuzzleEpoch, Rate, TokenBucket, UnixMillis, puzzle,
};
use potluck_wire::puzzle::PuzzleProof;

use crate::gatekeeper::{OwnTrouble, Pass};

/// Proofs checked for senders whose address is not proven: a check takes about a microsecond, so this
/// is 0.2 % of a core. Raising it lets a flood of strangers use more.
const STRANGERS: Rate = Rate::new(2_000, 2_000);
/// Proofs checked for senders whose address is proven, or which were asked.
const PROVEN: Rate = Rate::new(2_000, 4_000);

/// How the check of a proof ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    /// The proof holds.
    Holds(Pass),
    /// It does not, or its epoch is not accepted now.
    Wrong,
    /// The budget is spent: it was not judged.
    Deferred,
}

/// The door of an `open` network.
#[derive(Debug, Clone)]
pub struct PuzzleGate {
    network: NetworkId,
    difficulty: Difficulty,
    proof: Option<(PuzzleEpoch, Bytes)>,
    now: Option<UnixMillis>,
    strangers: TokenBucket,
    proven: TokenBucket,
}

impl PuzzleGate {
    /// The door of `network`. `proof`, the node's own, is `None` while it has none: then no node hears
    /// it.
    #[must_use]
    pub fn new(network: NetworkId, difficulty: Difficulty, proof: Option<PuzzleProof>) -> Self {
        Self {
            network,
            difficulty,
            proof: proof.map(|proof| (proof.epoch, proof.encode())),
            now: None,
            strangers: STRANGERS.bucket(),
            proven: PROVEN.bucket(),
        }
    }

    /// The network's difficulty.
    #[must_use]
    pub const fn difficulty(&self) -> Difficulty {
        self.difficulty
    }

    /// The epoch of the node's own proof.
    #[must_use]
    pub fn epoch(&self) -> Option<PuzzleEpoch> {
        self.proof.as_ref().map(|(epoch, _)| *epoch)
    }

    /// The time by which epochs are counted.
    pub(crate) const fn set_wall_clock(&mut self, now: UnixMillis) {
        self.now = Some(now);
    }

    /// The node's own proof from now on.
    pub(crate) fn set_proof(&mut self, bytes: Bytes) {
        self.proof = PuzzleProof::decode(&bytes).map(|proof| (proof.epoch, bytes));
    }

    /// What is shown to others.
    pub(crate) fn proof(&self) -> Option<&Bytes> {
        self.proof.as_ref().map(|(_, bytes)| bytes)
    }

    /// Why the others do not hear this node any more, as far as it knows.
    pub(crate) fn own_trouble(&self) -> Option<OwnTrouble> {
        let now = self.now?;
        let good = self.proof.as_ref().is_some_and(|(epoch, _)| is_accepted(*epoch, now));
        (!good).then_some(OwnTrouble::Unsolved)
    }

    /// Checks a proof that `sender` shows.
    pub(crate) fn check(
        &mut self,
        at: Instant,
        sender: &PublicKey,
        bytes: &[u8],
        proven: bool,
    ) -> Checked {
        let Some(now) = self.now else { return Checked::Deferred };
        let Some(proof) = PuzzleProof::decode(bytes) else { return Checked::Wrong };
        if !is_accepted(proof.epoch, now) {
            return Checked::Wrong;
        }
        let budget = if proven { &mut self.proven } else { &mut self.strangers };
        if !budget.take(at, 1) {
            return Checked::Deferred;
        }
        if !puzzle::holds(&self.network, self.difficulty, sender, proof.epoch, proof.solution) {
            return Checked::Wrong;
        }
        let (from, until) = (proof.epoch.accepted_from(), proof.epoch.accepted_until());
        Checked::Holds(Pass::of_proof(bytes, from, until))
    }

    /// Whether a proof that was checked holds still.
    pub(crate) fn holds(&self, pass: &Pass) -> bool {
        self.now.is_some_and(|now| pass.issued <= now && now < pass.expires)
    }
}

fn is_accepted(epoch: PuzzleEpoch, now: UnixMillis) -> bool {
    epoch.accepted_from() <= now && now < epoch.accepted_until()
}

#[cfg(test)]
mod tests {
    use potluck_base::puzzle::{EPOCH_MS, KeySearch, OVERLAP_MS, SolutionSearch};

    use super::*;

    const EPOCH: PuzzleEpoch = PuzzleEpoch(2970);

    fn difficulty() -> Difficulty {
        Difficulty::new(2, 4).expect("a difficulty")
    }

    fn network() -> NetworkId {
        NetworkId::open("t", difficulty())
    }

    fn gate(now: u64) -> PuzzleGate {
        let mut gate = PuzzleGate::new(network(), difficulty(), None);
        gate.set_wall_clock(UnixMillis(now));
        gate
    }

    fn solved(epoch: PuzzleEpoch) -> (PublicKey, Bytes) {
        let mut keys = KeySearch::new(network(), difficulty(), [1; 32]);
        let key = keys.step(1_000).expect("one of four fits").public_key();
        let mut search = SolutionSearch::new(&key.node_id(&network()), difficulty(), epoch);
        let solution = search.step(10_000).expect("one of sixteen fits");
        (key, PuzzleProof { epoch, solution }.encode())
    }

    fn check(gate: &mut PuzzleGate, sender: &PublicKey, bytes: &[u8]) -> Checked {
        gate.check(Instant::ZERO, sender, bytes, true)
    }

    #[test]
    fn a_proof_holds_from_a_day_before_to_a_day_after_its_epoch() {
        let (key, proof) = solved(EPOCH);
        let begin = EPOCH.0 * EPOCH_MS;
        let holds = |now| matches!(check(&mut gate(now), &key, &proof), Checked::Holds(_));
        assert!(holds(begin - OVERLAP_MS) && holds(begin + EPOCH_MS + OVERLAP_MS - 1));
        assert!(!holds(begin - OVERLAP_MS - 1) && !holds(begin + EPOCH_MS + OVERLAP_MS));
        let mut gate = gate(begin);
        let Checked::Holds(pass) = check(&mut gate, &key, &proof) else { panic!("it holds") };
        assert!(gate.holds(&pass) && pass.is_of(&proof));
        gate.set_wall_clock(EPOCH.accepted_until());
        assert!(!gate.holds(&pass), "what is remembered expires as well");
    }

    #[test]
    fn anothers_proof_nonsense_and_unsolved_puzzles_are_wrong() {
        let (key, proof) = solved(EPOCH);
        let mut gate = gate(EPOCH.0 * EPOCH_MS);
        let other = PublicKey::from_bytes([9; 32]);
        let unsolved = (0..).map(|solution| PuzzleProof { epoch: EPOCH, solution });
        let mut unsolved = unsolved.filter(|it| !it.holds(&network(), difficulty(), &key));
        let unsolved = unsolved.next().expect("fifteen of sixteen fit not").encode();
        for (sender, bytes) in [(&other, &proof[..]), (&key, b"nonsense"), (&key, &unsolved)] {
            assert_eq!(check(&mut gate, sender, bytes), Checked::Wrong);
        }
        let mut early = PuzzleGate::new(network(), difficulty(), None);
        assert_eq!(check(&mut early, &key, &proof), Checked::Deferred, "no time is known");
    }

    #[test]
    fn a_flood_of_strangers_spends_no_budget_of_proven_peers() {
        let (key, proof) = solved(EPOCH);
        let mut gate = gate(EPOCH.0 * EPOCH_MS);
        let stranger = PublicKey::from_bytes([9; 32]);
        let mut judged = 0;
        for _ in 0..10_000 {
            let checked = gate.check(Instant::ZERO, &stranger, &proof, false);
            judged += u32::from(checked != Checked::Deferred);
        }
        assert_eq!(judged, STRANGERS.burst);
        assert!(matches!(check(&mut gate, &key, &proof), Checked::Holds(_)));
        // A proof that is no proof, or of another time, costs no budget at all.
        let late = PuzzleProof { epoch: PuzzleEpoch(1), solution: 0 }.encode();
        assert_eq!(gate.check(Instant::ZERO, &stranger, &late, false), Checked::Wrong);
    }

    #[test]
    fn a_node_knows_when_its_own_proof_is_over() {
        let (_, proof) = solved(EPOCH);
        let mut gate = gate(EPOCH.0 * EPOCH_MS);
        assert_eq!(gate.own_trouble(), Some(OwnTrouble::Unsolved));
        gate.set_proof(proof);
        assert_eq!((gate.own_trouble(), gate.epoch()), (None, Some(EPOCH)));
        gate.set_wall_clock(EPOCH.accepted_until());
        assert_eq!(gate.own_trouble(), Some(OwnTrouble::Unsolved));
    }
}
