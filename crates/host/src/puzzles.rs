//! The puzzles of an `open` network at the host: the search for a key pair, the solutions of the epochs,
//! which are kept in the data folder, and the filter of connections.
//!
//! Searches run in threads for blocking work, in short steps, and end when the start is given up. From
//! half a day before an epoch begins, the next solution is made in the background, once a minute if the
//! first search is broken off.
//!
//! **Invariant:** a solution is used only after it was kept, where there is a data folder, so that a
//! restart repeats no work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use potluck_base::puzzle::{self, KeySearch, SolutionSearch};
use potluck_base::{Contact, Difficulty, Identity, NetworkId, NodeId, PublicKey, PuzzleEpoch};
use potluck_node::{Input, Output};
use potluck_wire::puzzle::PuzzleProof;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::error::StartError;
use crate::folder::{DataFolder, NetworkInfo, random_bytes};
use crate::request::Request;
use crate::transport::AdmissionFilter;

/// Key pairs tried between two looks at whether the search is given up: some 3 ms.
const KEYS_A_STEP: u32 = 128;
/// Numbers tried in that time.
const NUMBERS_A_STEP: u32 = 32_768;
/// Interval at which a running node looks whether the next epoch's solution is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// What a node works on before it starts in an `open` network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Puzzle {
    /// The search for a key pair; once for each identity.
    Key,
    /// The search for the solution of the epoch; once a week.
    Solution,
}

/// How far the work on the puzzles of a node that starts is. Cheap to clone; all clones show the same.
#[derive(Debug, Clone, Default)]
pub struct PuzzleProgress {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Tries on average of the search that runs; 0: none does.
    expected: AtomicU64,
    tries: AtomicU64,
    of_key: AtomicBool,
}

impl PuzzleProgress {
    /// The search that runs, its tries, and the tries that it needs on average; the number that it
    /// needs in fact may be several times that.
    #[must_use]
    pub fn now(&self) -> Option<(Puzzle, u64, u64)> {
        let expected = self.shared.expected.load(Ordering::Relaxed);
        let of_key = self.shared.of_key.load(Ordering::Relaxed);
        let which = if of_key { Puzzle::Key } else { Puzzle::Solution };
        (expected > 0).then(|| (which, self.shared.tries.load(Ordering::Relaxed), expected))
    }

    fn begin(&self, which: Puzzle, expected: u64) {
        self.shared.tries.store(0, Ordering::Relaxed);
        self.shared.of_key.store(which == Puzzle::Key, Ordering::Relaxed);
        self.shared.expected.store(expected, Ordering::Relaxed);
    }

    fn set(&self, tries: u64) {
        self.shared.tries.store(tries, Ordering::Relaxed);
    }

    fn end(&self) {
        self.shared.expected.store(0, Ordering::Relaxed);
    }
}

/// The searches of a node that starts: they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Searches {
    given_up: Arc<AtomicBool>,
    progress: PuzzleProgress,
}

impl Searches {
    pub(crate) fn new(progress: PuzzleProgress) -> Self {
        Self { given_up: Arc::default(), progress }
    }

    /// The same for a thread, which does not end the searches when it drops it.
    pub(crate) fn handle(&self) -> SearchHandle {
        SearchHandle { given_up: Arc::clone(&self.given_up), progress: self.progress.clone() }
    }
}

impl Drop for Searches {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}

/// What a thread needs to search.
#[derive(Debug, Clone, Default)]
pub(crate) struct SearchHandle {
    given_up: Arc<AtomicBool>,
    progress: PuzzleProgress,
}

impl SearchHandle {
    /// A key pair that solves the static puzzle of `network`. Blocks.
    pub(crate) fn identity(
        &self,
        network: &NetworkId,
        difficulty: Difficulty,
    ) -> Result<Identity, StartError> {
        let mut search = KeySearch::new(*network, difficulty, random_bytes()?);
        self.progress.begin(Puzzle::Key, search.expected());
        while !self.given_up.load(Ordering::Relaxed) {
            let found = search.step(KEYS_A_STEP);
            self.progress.set(search.tries());
            if let Some(identity) = found {
                self.progress.end();
                return Ok(identity);
            }
        }
        Err(StartError::BrokenOff)
    }

    /// The proof of the node `id` in `epoch`. Blocks.
    fn proof(
        &self,
        id: &NodeId,
        difficulty: Difficulty,
        epoch: PuzzleEpoch,
    ) -> Result<PuzzleProof, StartError> {
        let mut search = SolutionSearch::new(id, difficulty, epoch);
        self.progress.begin(Puzzle::Solution, 1 << difficulty.dynamic_bits());
        while !self.given_up.load(Ordering::Relaxed) {
            let found = search.step(NUMBERS_A_STEP);
            self.progress.set(search.tries());
            if let Some(solution) = found {
                self.progress.end();
                return Ok(PuzzleProof { epoch, solution });
            }
        }
        Err(StartError::BrokenOff)
    }
}

/// The node whose puzzles are solved.
#[derive(Debug, Clone)]
pub(crate) struct Solver {
    network: NetworkId,
    difficulty: Difficulty,
    key: PublicKey,
    folder: Option<DataFolder>,
    clock: Clock,
}

impl Solver {
    /// The solver of the node of `key` in `network`; `None` if that is no `open` network.
    ///
    /// # Errors
    /// [`StartError::KeyUnfit`] if the key does not solve the static puzzle.
    pub(crate) fn new(
        network: &NetworkInfo,
        key: PublicKey,
        folder: Option<DataFolder>,
        clock: Clock,
    ) -> Result<Option<Self>, StartError> {
        let Some(difficulty) = network.difficulty else { return Ok(None) };
        if !puzzle::solves_static(&key.node_id(&network.id), difficulty) {
            return Err(StartError::KeyUnfit { network: network.name.clone(), difficulty });
        }
        Ok(Some(Self { network: network.id, difficulty, key, folder, clock }))
    }

    pub(crate) const fn difficulty(&self) -> Difficulty {
        self.difficulty
    }

    /// The proof of the epoch that is due: the one that is kept, or a new one. Blocks.
    pub(crate) fn proof(&self, search: &SearchHandle) -> Result<PuzzleProof, StartError> {
        let epoch = PuzzleEpoch::wanted_at(self.clock.wall());
        let kept = self.folder.as_ref().and_then(DataFolder::puzzle_proof);
        let kept = kept.and_then(|bytes| PuzzleProof::decode(&bytes));
        let good = |proof: &PuzzleProof| {
            proof.epoch == epoch && proof.holds(&self.network, self.difficulty, &self.key)
        };
        if let Some(proof) = kept.filter(good) {
            return Ok(proof);
        }
        let proof = search.proof(&self.key.node_id(&self.network), self.difficulty, epoch)?;
        if let Some(folder) = &self.folder {
            let saved = folder.save_puzzle_proof(&proof.encode());
            let path = folder.path().to_owned();
            saved.map_err(|source| StartError::File { path, source })?;
        }
        Ok(proof)
    }

    /// Goes on solving for a running node, until the node has stopped.
    async fn renew(self, first: PuzzleEpoch, requests: mpsc::WeakSender<Request>) {
        let mut epoch = first;
        loop {
            sleep(LOOK_INTERVAL).await;
            if requests.upgrade().is_none() {
                return;
            }
            if PuzzleEpoch::wanted_at(self.clock.wall()) == epoch {
                continue;
            }
            let this = self.clone();
            let solving = move || this.proof(&SearchHandle::default());
            match tokio::task::spawn_blocking(solving).await {
                Ok(Ok(proof)) => {
                    epoch = proof.epoch;
                    tracing::info!(
                        code = "puzzle.solved",
                        epoch = epoch.0,
                        "solved this week's puzzle"
                    );
                    let Some(requests) = requests.upgrade() else { return };
                    let input = Input::PuzzleSolved { proof: proof.encode() };
                    if requests.send(Request::Admission(input)).await.is_err() {
                        return;
                    }
                }
                Ok(Err(error)) => {
                    tracing::warn!(code = "puzzle.unsolved", %error, "cannot solve this week's puzzle");
                }
                // The program is ending.
                Err(_) => return,
            }
        }
    }
}

/// The door of a running node of an `open` network.
#[derive(Debug)]
pub(crate) struct Puzzles {
    filter: Arc<AdmissionFilter>,
}

impl Puzzles {
    /// Begins to renew the solutions of `solver`, which has one of `epoch`.
    pub(crate) fn new(
        solver: Solver,
        epoch: PuzzleEpoch,
        filter: Arc<AdmissionFilter>,
        requests: &mpsc::Sender<Request>,
    ) -> Self {
        tokio::spawn(solver.renew(epoch, requests.downgrade()));
        Self { filter }
    }

    /// Carries out an output of the core about admission.
    pub(crate) fn carry_out(&self, output: &Output) {
        match output {
            Output::Admitted { public_key, address, until } => {
                self.filter.admit(Contact::new(*public_key, *address), *until);
            }
            Output::Expelled { public_key } => self.filter.expel(public_key),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> NetworkInfo {
        NetworkInfo::open("t".to_owned(), Difficulty::new(4, 6).unwrap())
    }

    fn solver(folder: Option<DataFolder>) -> Solver {
        let searches = Searches::new(PuzzleProgress::default());
        let network = network();
        let key = searches.handle().identity(&network.id, network.difficulty.unwrap()).unwrap();
        Solver::new(&network, key.public_key(), folder, Clock::start()).unwrap().unwrap()
    }

    #[test]
    fn a_solution_is_made_once_and_a_damaged_one_again() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, _lock) = DataFolder::take(&parent.path().join("data")).unwrap();
        let solver = solver(Some(folder.clone()));
        let search = SearchHandle::default();
        let proof = solver.proof(&search).unwrap();
        assert!(proof.holds(&network().id, network().difficulty.unwrap(), &solver.key));
        assert_eq!(folder.puzzle_proof(), Some(proof.encode()));
        // Without a search, which would end at once, the kept one is found.
        let given_up = SearchHandle::default();
        given_up.given_up.store(true, Ordering::Relaxed);
        assert_eq!(solver.proof(&given_up).unwrap(), proof);
        let other = PuzzleProof { solution: u64::MAX, ..proof };
        folder.save_puzzle_proof(&other.encode()).unwrap();
        assert!(matches!(solver.proof(&given_up), Err(StartError::BrokenOff)));
        assert_eq!(solver.proof(&search).unwrap(), proof);
    }

    #[test]
    fn a_search_ends_when_the_start_is_given_up_and_shows_how_far_it_is() {
        let progress = PuzzleProgress::default();
        assert_eq!(progress.now(), None);
        let searches = Searches::new(progress.clone());
        let handle = searches.handle();
        let hard = Difficulty::new(28, 32).unwrap();
        let thread = std::thread::spawn(move || handle.identity(&network().id, hard).map(drop));
        while progress.now().is_none_or(|(_, tries, _)| tries == 0) {
            std::thread::yield_now();
        }
        assert!(matches!(progress.now(), Some((Puzzle::Key, _, expected)) if expected == 1 << 28));
        drop(searches);
        assert!(matches!(thread.join().unwrap(), Err(StartError::BrokenOff)));
    }

    #[test]
    fn a_key_that_solves_nothing_is_refused() {
        let network = network();
        let unfit = (0..=255_u8).map(|byte| Identity::from_seed([byte; 32]).public_key());
        let difficulty = network.difficulty.unwrap();
        let mut unfit =
            unfit.filter(|key| !puzzle::solves_static(&key.node_id(&network.id), difficulty));
        let error = Solver::new(&network, unfit.next().unwrap(), None, Clock::start()).unwrap_err();
        assert!(matches!(error, StartError::KeyUnfit { .. }), "{error}");
    }
}
