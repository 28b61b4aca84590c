//! Random numbers by counter: a draw is a function of a seed and of its purpose, so it does not depend on the
//! order of draws, and a table can be computed again instead of being stored.
//!
//! The function is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), one of the fastest
//! functions that pass the usual statistical tests. It is not a cipher and has no security purpose.

/// A number in which each bit depends on each bit of `value`. The mapping is a bijection.
#[must_use]
#[inline]
pub const fn mix(value: u64) -> u64 {
    let a = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let b = (a ^ (a >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let c = (b ^ (b >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    c ^ (c >> 31)
}

/// A number that depends on both inputs.
#[must_use]
#[inline]
pub const fn mix2(a: u64, b: u64) -> u64 {
    mix(mix(a) ^ b.wrapping_mul(0xD6E8_FEB8_6659_FD93))
}

/// A draw as a number from 0 up to but not including 1.
#[must_use]
#[inline]
pub fn unit(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1u64 << 53) as f64
}

/// A draw as a number below `bound`; 0 if `bound` is 0. The bias is under `bound / 2^64`.
#[must_use]
#[inline]
pub const fn below(draw: u64, bound: usize) -> usize {
    ((draw as u128 * bound as u128) >> 64) as usize
}

/// A sequence of draws, for events that happen in one order anyway.
#[derive(Debug, Clone)]
pub struct Stream {
    state: u64,
}

impl Stream {
    /// The draws of a seed for a purpose. Streams of different purposes are independent.
    #[must_use]
    pub const fn new(seed: u64, purpose: u64) -> Self {
        Self { state: mix2(seed, purpose) }
    }

    /// The next draw.
    #[inline]
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(1);
        mix(self.state)
    }

    /// A number from 0 up to but not including 1.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        unit(self.draw())
    }

    /// A number below `bound`.
    #[inline]
    pub fn below(&mut self, bound: usize) -> usize {
        below(self.draw(), bound)
    }

    /// An exponential time with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.unit()).ln() * mean
    }

    /// A standard normal number (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A gamma number with this shape, at least 1, and scale 1 (Marsaglia and Tsang 2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        // Each try is accepted with a probability of at least 0.95. After 64 tries the mode is a sufficient
        // result.
        for _ in 0..64 {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            let u = 1.0 - self.unit();
            if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
        d
    }

    /// Shuffles the items.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let other = self.below(at + 1);
            items.swap(at, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(count: usize, mut draw: impl FnMut() -> f64) -> f64 {
        (0..count).map(|_| draw()).sum::<f64>() / count as f64
    }

    #[test]
    fn draws_have_the_means_of_their_distributions() {
        let mut draws = Stream::new(7, 1);
        assert!((mean(100_000, || draws.unit()) - 0.5).abs() < 0.005);
        assert!((mean(100_000, || draws.exponential(3.0)) - 3.0).abs() < 0.05);
        assert!(mean(100_000, || draws.normal()).abs() < 0.02);
        assert!((mean(100_000, || draws.gamma(2.64)) - 2.64).abs() < 0.03);
        assert!((mean(100_000, || draws.below(10) as f64) - 4.5).abs() < 0.05);
    }

    #[test]
    fn a_draw_depends_on_seed_and_purpose_only() {
        let take = |seed, purpose| {
            let mut draws = Stream::new(seed, purpose);
            [draws.draw(), draws.draw()]
        };
        assert_eq!(take(1, 2), take(1, 2));
        assert_ne!(take(1, 2), take(2, 1));
        assert_ne!(mix2(1, 2), mix2(2, 1));
    }

    #[test]
    fn bounds_hold() {
        assert_eq!(below(u64::MAX, 0), 0);
        assert_eq!(below(u64::MAX, 5), 4);
        assert!(unit(u64::MAX) < 1.0);
    }
}
