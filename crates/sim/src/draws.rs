//! Small streams of random numbers: one for each node and purpose.
//!
//! A stream shared by several nodes would give each of them numbers that depend on the order of events of
//! different nodes. That order is not defined between shards.

use std::time::Duration;

/// A stream of `SplitMix64` (Steele, Lea and Flood 2014): eight bytes of state.
#[derive(Debug, Clone)]
pub(crate) struct Draws(u64);

impl Draws {
    /// The stream number `number` for the purpose `label` in the world of this seed.
    pub(crate) fn new(seed: u64, label: &str, number: u64) -> Self {
        let bytes = seed_of(seed, label, [number, 0]);
        Self(bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)))
    }

    fn next_u64(&mut self) -> u64 {
        let number = mix(self.0);
        self.0 = self.0.wrapping_add(GOLDEN);
        number
    }

    /// A fraction in [0, 1).
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with probability `p`.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.fraction() < p
    }

    /// `duration` scaled by a factor in [1 - spread, 1 + spread).
    pub(crate) fn jitter(&mut self, duration: Duration, spread: f64) -> Duration {
        duration.mul_f64((1.0 + spread * (2.0 * self.fraction() - 1.0)).max(0.0))
    }
}

/// 2^64 divided by the golden ratio: the step of the states.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A good hash of one number: the output function of `SplitMix64`.
pub(crate) const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A seed for `label` and `numbers` in the world of seed `seed`.
pub(crate) fn seed_of(seed: u64, label: &str, numbers: [u64; 2]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("potluck 2026 simulation seed");
    hasher.update(&seed.to_le_bytes());
    numbers.iter().for_each(|number| {
        hasher.update(&number.to_le_bytes());
    });
    hasher.update(label.as_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_label_and_number_and_are_even() {
        let first = |seed, label, number| Draws::new(seed, label, number).next_u64();
        assert_eq!(first(1, "disk", 2), first(1, "disk", 2));
        let all =
            [first(1, "disk", 2), first(2, "disk", 2), first(1, "call", 2), first(1, "disk", 3)];
        assert!((1..4).all(|at| !all[..at].contains(&all[at])), "{all:?}");
        let mut draws = Draws::new(1, "even", 0);
        let low = (0..10_000).filter(|_| draws.chance(0.25)).count();
        assert!((2_350..2_650).contains(&low), "{low} of 10,000");
    }
}
