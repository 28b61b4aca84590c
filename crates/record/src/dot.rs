//! Dots: the time of a write, as a hybrid logical clock (Kulkarni et al. 2014).
//!
//! A dot has 48 bits of milliseconds since 1970 and 16 bits of counter in one number. Where we differ from
//! the paper: the value of another node never moves a node's clock, because one node with false claims could
//! otherwise move every clock forward. The order between writers comes from contexts, not from the clock.

use std::fmt;
use std::str::FromStr;

use potluck_base::UnixMillis;

/// A writer's version of one key: greater than all of that writer's earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Dot(u64);

impl Dot {
    /// Smaller than any dot that a writer issues.
    pub const ZERO: Self = Self(0);

    /// Wraps a raw dot.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The raw number.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The next dot after `last` on a clock that shows `now`. It is also right if the clock went back.
    #[must_use]
    pub fn next(last: Self, now: UnixMillis) -> Self {
        Self((now.0 << 16).max(last.0.saturating_add(1)))
    }

    /// The wall-clock part.
    #[must_use]
    pub const fn millis(self) -> UnixMillis {
        UnixMillis(self.0 >> 16)
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dot({}+{})", self.0 >> 16, self.0 & 0xffff)
    }
}

impl FromStr for Dot {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_grow_also_when_the_clock_goes_back() {
        let first = Dot::next(Dot::ZERO, UnixMillis(1_000));
        let second = Dot::next(first, UnixMillis(1_000));
        let third = Dot::next(second, UnixMillis(10));
        assert!(first < second && second < third);
        assert_eq!(third.millis(), UnixMillis(1_000));
        assert_eq!(Dot::next(third, UnixMillis(2_000)).millis(), UnixMillis(2_000));
    }
}
