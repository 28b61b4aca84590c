//! An `open` network in the world: key pairs that solve its static puzzle, proofs of the dynamic one,
//! and nodes that have none. A node makes the solution of the next epoch at a tick of its clock.

use potluck_base::puzzle::{KeySearch, SolutionSearch};
use potluck_base::{
    Difficulty, Identity, NetworkId, PublicKey, PuzzleEpoch, Rng, UnixMillis, puzzle,
};
use potluck_dht::EntryPoint;
use potluck_link::PuzzleGate;
use potluck_node::Input;
use potluck_wire::puzzle::PuzzleProof;

use crate::sim_node::NodeIndex;
use crate::world::World;
use crate::world::shard::Local;
use crate::world::shared::Shared;

/// Tries in one step of a search.
const STEP: u32 = 4096;

/// Which puzzles of an `open` network a node solves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Solves {
    /// Both.
    #[default]
    Both,
    /// The static one: it has a key that fits, and does no work in an epoch.
    Static,
    /// The dynamic one: it took the first key, and works in each epoch.
    Dynamic,
}

/// A key pair; in an `open` network one that solves the static puzzle, or, as `solves` says, does not.
pub(super) fn identity(
    network: &NetworkId,
    open: Option<Difficulty>,
    solves: Solves,
    rng: &mut Rng,
) -> Identity {
    let seed = rng.bytes();
    let Some(difficulty) = open else { return Identity::from_seed(seed) };
    let fits = |it: &Identity| puzzle::solves_static(&it.public_key().node_id(network), difficulty);
    if solves == Solves::Dynamic {
        let mut any = std::iter::repeat_with(|| Identity::from_seed(rng.bytes()));
        return any.find(|identity| !fits(identity)).expect("an endless iterator");
    }
    let mut search = KeySearch::new(*network, difficulty, seed);
    loop {
        if let Some(identity) = search.step(STEP) {
            return identity;
        }
    }
}

/// The proof of the holder of `key` in an epoch.
pub(super) fn proof(
    network: &NetworkId,
    difficulty: Difficulty,
    key: &PublicKey,
    epoch: PuzzleEpoch,
) -> PuzzleProof {
    let mut search = SolutionSearch::new(&key.node_id(network), difficulty, epoch);
    loop {
        if let Some(solution) = search.step(STEP) {
            return PuzzleProof { epoch, solution };
        }
    }
}

/// The door of a hostile member, with the proof that it can make: none holds if its key does not solve
/// the static puzzle.
pub(super) fn hostile_door(
    shared: &Shared,
    now: UnixMillis,
    key: &PublicKey,
) -> Option<PuzzleGate> {
    let difficulty = shared.config.open.filter(|_| shared.config.node.kv.defences.puzzles)?;
    let proof = proof(&shared.network_id, difficulty, key, PuzzleEpoch::at(now));
    Some(PuzzleGate::new(shared.network_id, difficulty, Some(proof)))
}

/// Whether a key pair may be a node's of this world.
pub(super) fn fits(shared: &Shared, identity: &Identity) -> bool {
    let id = identity.public_key().node_id(&shared.network_id);
    shared.config.open.is_none_or(|difficulty| puzzle::solves_static(&id, difficulty))
}

impl Local<'_> {
    /// The door of a node, in an `open` network.
    pub(super) fn puzzle_gate(&mut self, index: NodeIndex) -> Option<PuzzleGate> {
        let difficulty = self.shared.config.open.filter(|_| self.checks_puzzles())?;
        let exact = Shared::wall_clock(self.shard.now);
        let node = &self.shard.nodes[index];
        let epoch = PuzzleEpoch::wanted_at(node.wall_clock(exact));
        let proof = self.proof_of(index, difficulty, epoch);
        Some(PuzzleGate::new(self.shared.network_id, difficulty, Some(proof)))
    }

    /// At a tick of a node's clock: makes the solution of the next epoch if it is time.
    pub(super) fn renew_puzzle(&mut self, index: NodeIndex, now: UnixMillis) {
        let Some(difficulty) = self.shared.config.open.filter(|_| self.checks_puzzles()) else {
            return;
        };
        let Some(machine) = self.shard.nodes[index].machine() else { return };
        let epoch = PuzzleEpoch::wanted_at(now);
        if machine.puzzle_epoch() == Some(epoch) {
            return;
        }
        let proof = self.proof_of(index, difficulty, epoch).encode();
        self.feed(index, Input::PuzzleSolved { proof });
    }

    /// Whether the nodes' doors are in; not in a test that shows what they are for.
    fn checks_puzzles(&self) -> bool {
        self.shared.config.node.kv.defences.puzzles
    }

    fn proof_of(
        &self,
        index: NodeIndex,
        difficulty: Difficulty,
        epoch: PuzzleEpoch,
    ) -> PuzzleProof {
        let node = &self.shard.nodes[index];
        let key = node.peer.contact.public_key;
        match node.papers.solves {
            Solves::Both | Solves::Dynamic => {
                proof(&self.shared.network_id, difficulty, &key, epoch)
            }
            Solves::Static => PuzzleProof { epoch, solution: u64::MAX },
        }
    }
}

impl World {
    /// Adds a node that solves these puzzles only, and starts it.
    pub fn spawn_solving(&mut self, solves: Solves, entries: Vec<EntryPoint>) -> NodeIndex {
        let index = self.add_like(entries, solves);
        self.start(index);
        index
    }
}
