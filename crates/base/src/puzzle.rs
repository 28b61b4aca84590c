//! The puzzles of an `open` network (Baumgart & Mies, "S/Kademlia", 2007, section 4.1).
//!
//! The **static puzzle** makes a place in the network cost work once: the hash of a node's id, which
//! is itself a hash of its public key, must begin with `static_bits` zero bits, so a node tries key
//! pairs until one fits. The **dynamic puzzle** makes each place cost work again in every epoch: a
//! number must be found whose hash with the node's id and the epoch begins with `dynamic_bits` zero
//! bits. The number never enters the id.
//!
//! Where we differ from the paper: the hash is BLAKE3 and covers the network's id, so that work for
//! one network is worth nothing in another; the dynamic hash takes the number beside the id and not
//! by XOR, and the epoch with it, so that the work expires. Epochs are counted by the calendar, so
//! solutions of later epochs can be made ahead of time.
//!
//! **Invariant:** the check costs a few hashes and no more, whatever it is given.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::{Identity, NetworkId, NodeId, PublicKey, UnixMillis};

/// Length of an epoch in milliseconds: a week. A shorter one makes many identities cost more to keep
/// up, and honest nodes as well.
pub const EPOCH_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// Time before the begin and after the end of an epoch in which its solutions are accepted: a day, so
/// two epochs' solutions are accepted for two days, and no clock that is wrong by hours shuts a node
/// out. A longer time lets identities live longer on one solution.
pub const OVERLAP_MS: u64 = 24 * 60 * 60 * 1000;
/// Time before the begin of an epoch at which a node makes its solution: half of [`OVERLAP_MS`], so
/// that a peer whose clock is up to 12 hours behind accepts it at once.
pub const RENEW_AHEAD_MS: u64 = OVERLAP_MS / 2;

/// How much work a place in an `open` network costs. Fixed when the network is created, since it
/// enters the network's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Difficulty {
    static_bits: u8,
    dynamic_bits: u8,
}

/// Why a text or two numbers are no difficulty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a difficulty is two numbers of bits, static and dynamic, as in 16,22: static {} to {}, dynamic {} \
     to {}",
    Difficulty::STATIC_BITS.start(),
    Difficulty::STATIC_BITS.end(),
    Difficulty::DYNAMIC_BITS.start(),
    Difficulty::DYNAMIC_BITS.end()
)]
pub struct DifficultyError;

impl Difficulty {
    /// The bits that a static puzzle may have. Each further one doubles the time that a new node
    /// searches for its key pair; 28 take hours.
    pub const STATIC_BITS: RangeInclusive<u8> = 1..=28;
    /// The bits that a dynamic puzzle may have. Each further one doubles the work of each node in each
    /// epoch; 32 take minutes.
    pub const DYNAMIC_BITS: RangeInclusive<u8> = 1..=32;
    /// The default of a new network: 16 as in the paper, and a dynamic puzzle of about a second on one
    /// core (docs/measurements.md has the figures).
    pub const DEFAULT: Self = Self { static_bits: 16, dynamic_bits: 23 };

    /// The difficulty of these bits.
    ///
    /// # Errors
    /// [`DifficultyError`] if one is out of its range.
    pub fn new(static_bits: u8, dynamic_bits: u8) -> Result<Self, DifficultyError> {
        let good =
            Self::STATIC_BITS.contains(&static_bits) && Self::DYNAMIC_BITS.contains(&dynamic_bits);
        if good { Ok(Self { static_bits, dynamic_bits }) } else { Err(DifficultyError) }
    }

    /// Leading zero bits of the hash of an id.
    #[must_use]
    pub const fn static_bits(&self) -> u8 {
        self.static_bits
    }

    /// Leading zero bits of the hash of id, epoch and solution.
    #[must_use]
    pub const fn dynamic_bits(&self) -> u8 {
        self.dynamic_bits
    }
}

impl fmt::Display for Difficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.static_bits, self.dynamic_bits)
    }
}

impl FromStr for Difficulty {
    type Err = DifficultyError;

    fn from_str(text: &str) -> Result<Self, DifficultyError> {
        let (fixed, renewed) = text.split_once(',').ok_or(DifficultyError)?;
        let bits = |text: &str| text.trim().parse().map_err(|_| DifficultyError);
        Self::new(bits(fixed)?, bits(renewed)?)
    }
}

/// A week of the calendar: the unit in which solutions of the dynamic puzzle expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PuzzleEpoch(pub u64);

impl PuzzleEpoch {
    /// The epoch of a time.
    #[must_use]
    pub const fn at(now: UnixMillis) -> Self {
        Self(now.0 / EPOCH_MS)
    }

    /// The epoch that a node should have a solution of: the next one from [`RENEW_AHEAD_MS`] before
    /// its begin on.
    #[must_use]
    pub const fn wanted_at(now: UnixMillis) -> Self {
        Self::at(UnixMillis(now.0.saturating_add(RENEW_AHEAD_MS)))
    }

    /// From when on its solutions are accepted.
    #[must_use]
    pub const fn accepted_from(self) -> UnixMillis {
        UnixMillis(self.0.saturating_mul(EPOCH_MS).saturating_sub(OVERLAP_MS))
    }

    /// From when on its solutions are accepted no more.
    #[must_use]
    pub const fn accepted_until(self) -> UnixMillis {
        let end = self.0.saturating_add(1).saturating_mul(EPOCH_MS);
        UnixMillis(end.saturating_add(OVERLAP_MS))
    }
}

/// Whether a node's id solves the static puzzle.
#[must_use]
pub fn solves_static(id: &NodeId, difficulty: Difficulty) -> bool {
    let hash = blake3::derive_key("potluck 2026 static puzzle", id.as_bytes());
    leading_zeros(&hash) >= u32::from(difficulty.static_bits)
}

/// Whether `solution` solves the dynamic puzzle of `id` in `epoch`.
#[must_use]
pub fn solves_dynamic(
    id: &NodeId,
    difficulty: Difficulty,
    epoch: PuzzleEpoch,
    solution: u64,
) -> bool {
    SolutionSearch::new(id, difficulty, epoch).is_solved_by(solution)
}

fn leading_zeros(hash: &[u8; 32]) -> u32 {
    let [a, b, c, d, e, f, g, h, ..] = *hash;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]).leading_zeros()
}

/// The search for a key pair whose id solves the static puzzle. Each step is short, so that the
/// caller may report progress and stop.
pub struct KeySearch {
    network: NetworkId,
    difficulty: Difficulty,
    secret: [u8; 32],
    tries: u64,
}

impl fmt::Debug for KeySearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySearch({} tries)", self.tries)
    }
}

impl KeySearch {
    /// A search in `network`; the key pairs are derived from `secret`, which must be random and kept
    /// from others.
    #[must_use]
    pub const fn new(network: NetworkId, difficulty: Difficulty, secret: [u8; 32]) -> Self {
        Self { network, difficulty, secret, tries: 0 }
    }

    /// Tries up to `most` further key pairs.
    pub fn step(&mut self, most: u32) -> Option<Identity> {
        for _ in 0..most {
            let seed = blake3::keyed_hash(&self.secret, &self.tries.to_be_bytes());
            self.tries += 1;
            let identity = Identity::from_seed(*seed.as_bytes());
            if solves_static(&identity.public_key().node_id(&self.network), self.difficulty) {
                return Some(identity);
            }
        }
        None
    }

    /// Key pairs tried.
    #[must_use]
    pub const fn tries(&self) -> u64 {
        self.tries
    }

    /// Key pairs to be tried on average.
    #[must_use]
    pub const fn expected(&self) -> u64 {
        1 << self.difficulty.static_bits
    }
}

/// The search for a solution of the dynamic puzzle, in short steps as well.
#[derive(Debug, Clone)]
pub struct SolutionSearch {
    key: [u8; 32],
    bits: u32,
    epoch: PuzzleEpoch,
    next: u64,
}

impl SolutionSearch {
    /// A search of the node `id` in `epoch`.
    #[must_use]
    pub fn new(id: &NodeId, difficulty: Difficulty, epoch: PuzzleEpoch) -> Self {
        let key = blake3::derive_key("potluck 2026 dynamic puzzle", id.as_bytes());
        Self { key, bits: difficulty.dynamic_bits.into(), epoch, next: 0 }
    }

    /// Tries up to `most` further numbers.
    pub fn step(&mut self, most: u32) -> Option<u64> {
        for _ in 0..most {
            let solution = self.next;
            self.next += 1;
            if self.is_solved_by(solution) {
                return Some(solution);
            }
        }
        None
    }

    /// Numbers tried.
    #[must_use]
    pub const fn tries(&self) -> u64 {
        self.next
    }

    fn is_solved_by(&self, solution: u64) -> bool {
        let mut input = [0; 16];
        input[..8].copy_from_slice(&self.epoch.0.to_be_bytes());
        input[8..].copy_from_slice(&solution.to_be_bytes());
        leading_zeros(blake3::keyed_hash(&self.key, &input).as_bytes()) >= self.bits
    }
}

/// Whether the holder of `key` may be in the `open` network `network` by this solution: both puzzles
/// hold.
#[must_use]
pub fn holds(
    network: &NetworkId,
    difficulty: Difficulty,
    key: &PublicKey,
    epoch: PuzzleEpoch,
    solution: u64,
) -> bool {
    let id = key.node_id(network);
    solves_static(&id, difficulty) && solves_dynamic(&id, difficulty, epoch, solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difficulty(text: &str) -> Difficulty {
        text.parse().expect("a difficulty")
    }

    fn network() -> NetworkId {
        NetworkId::open("a", difficulty("6,8"))
    }

    #[test]
    fn a_difficulty_is_two_numbers_in_their_ranges() {
        for good in ["16,22", "1,1", "28,32"] {
            assert_eq!(difficulty(good).to_string(), good);
        }
        assert_eq!(difficulty("4, 5").to_string(), "4,5");
        for bad in
            ["", "16", "16,", "0,1", "1,0", "29,1", "1,33", "a,b", "16,22,1", "-1,2", "300,1"]
        {
            assert_eq!(bad.parse::<Difficulty>(), Err(DifficultyError), "{bad}");
        }
    }

    #[test]
    fn a_key_that_was_found_solves_the_puzzle_of_its_network_only() {
        let mut search = KeySearch::new(network(), difficulty("6,8"), [1; 32]);
        let mut found = Vec::new();
        while found.len() < 20 {
            found.extend(search.step(50));
        }
        assert!((300..6_000).contains(&search.tries()), "{} tries for 20", search.tries());
        let elsewhere = NetworkId::open("b", difficulty("6,8"));
        let solves = |network: &NetworkId| {
            let ids = found.iter().map(|it| it.public_key().node_id(network));
            ids.filter(|id| solves_static(id, difficulty("6,8"))).count()
        };
        assert_eq!(solves(&network()), 20);
        assert!(solves(&elsewhere) < 5, "work for one network is worth nothing in another");
    }

    #[test]
    fn a_solution_holds_for_one_id_one_epoch_and_its_difficulty() {
        let difficulty = difficulty("1,12");
        let id = NodeId::from_bytes([3; 32]);
        let epoch = PuzzleEpoch(2900);
        let mut search = SolutionSearch::new(&id, difficulty, epoch);
        let solution = std::iter::repeat_with(|| search.step(100)).flatten().next();
        let solution = solution.expect("an endless iterator");
        assert_eq!(search.tries(), solution + 1);
        assert!(solves_dynamic(&id, difficulty, epoch, solution));
        assert!(!solves_dynamic(&id, difficulty, epoch, solution ^ 1));
        assert!(!solves_dynamic(&id, difficulty, PuzzleEpoch(2901), solution));
        assert!(!solves_dynamic(&NodeId::from_bytes([4; 32]), difficulty, epoch, solution));
        let harder = Difficulty::new(1, 32).expect("a difficulty");
        assert!(!solves_dynamic(&id, harder, epoch, solution));
    }

    #[test]
    fn solutions_are_accepted_a_day_around_their_epoch_and_made_half_a_day_before() {
        let epoch = PuzzleEpoch(100);
        let begin = 100 * EPOCH_MS;
        assert_eq!(epoch.accepted_from().0, begin - OVERLAP_MS);
        assert_eq!(epoch.accepted_until().0, begin + EPOCH_MS + OVERLAP_MS);
        assert_eq!(PuzzleEpoch::at(UnixMillis(begin - 1)), PuzzleEpoch(99));
        assert_eq!(PuzzleEpoch::at(UnixMillis(begin)), epoch);
        assert_eq!(PuzzleEpoch::wanted_at(UnixMillis(begin - RENEW_AHEAD_MS - 1)), PuzzleEpoch(99));
        assert_eq!(PuzzleEpoch::wanted_at(UnixMillis(begin - RENEW_AHEAD_MS)), epoch);
        // The ends of time do not panic.
        let last = PuzzleEpoch(u64::MAX);
        assert!(last.accepted_from() <= last.accepted_until());
        assert_eq!(PuzzleEpoch(0).accepted_from().0, 0);
        assert!(PuzzleEpoch::wanted_at(UnixMillis(u64::MAX)).0 > 0);
    }

    #[test]
    fn the_puzzles_are_frozen() {
        // Another hash would shut out all nodes of earlier versions.
        let id = NodeId::from_bytes([7; 32]);
        let mut search = SolutionSearch::new(&id, difficulty("1,10"), PuzzleEpoch(2970));
        let first = std::iter::repeat_with(|| search.step(100)).flatten().next();
        let fits = (0..64)
            .filter(|byte| solves_static(&NodeId::from_bytes([*byte; 32]), difficulty("3,1")));
        assert_eq!(
            (first, fits.collect::<Vec<u8>>()),
            (Some(674), vec![8, 16, 29, 30, 34, 48, 49])
        );
        let expected = "d3bf882d0272bc7c3b2a433b799958d2fd84ad1bae091dcea35010d16230f37a";
        assert_eq!(network().to_string(), expected);
    }
}
