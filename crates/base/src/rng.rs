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
        // Recorded once: a change here would make every stored simulation seed worthless, and every
        // stored schedule of a node another one.
        const NUMBERS: [u64; 3] =
            [0xab86_226a_092e_24d8, 0x02b3_8d04_628d_3957, 0x1781_94ca_5bdd_42a7];
        let mut rng = Rng::from_number(1);
        let mut draw = || rng.next_u64();
        assert_eq!([draw(), draw(), draw()], NUMBERS);
        assert_eq!(Rng::from_number(u64::MAX).next_u64(), 0xce74_2d26_75ec_54eb);
        assert_eq!(Rng::from_seed([7; 32]).next_u64(), 0x391e_bc3f_59cb_d0e4);
    }

    #[test]
    fn what_is_made_of_the_numbers_stays_the_same_too() {
        let mut rng = Rng::from_number(1);
        let (mut fork, mut other) = (rng.fork("network"), rng.fork("network"));
        let forked = (0xb143_c038_0fac_4b4d, 0x8be2_47ad_d3b5_46b1);
        assert_eq!((fork.next_u64(), other.next_u64()), forked);
        assert_eq!(rng.bytes(), [73, 236, 240, 226, 183, 152, 151, 18, 185, 201, 79, 236]);
        let below = [rng.below(1000), rng.below(7), rng.below(u64::MAX)];
        assert_eq!(below, [865, 3, 18_043_458_768_608_063_993]);
        assert_eq!(rng.fraction().to_bits(), 0x3fec_45e6_7b9f_471c);
        assert_eq!([rng.chance(0.5), rng.chance(0.5), rng.chance(0.5)], [false, true, true]);
        let second = std::time::Duration::from_secs(1);
        assert_eq!(rng.jitter(second, 0.5).as_nanos(), 757_152_695);
        let mut items = [0, 1, 2, 3, 4, 5, 6, 7];
        rng.shuffle(&mut items);
        assert_eq!(items, [4, 6, 3, 1, 7, 2, 5, 0]);
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
