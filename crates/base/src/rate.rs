//! A limit on how often something may happen.

use crate::TokenBucket;

/// A rate and the burst above it: the parameters of a token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Tokens a second in the long run.
    pub per_second: u32,
    /// Tokens at once after a pause.
    pub burst: u32,
}

impl Rate {
    /// `per_second` tokens a second, at most `burst` at once.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst }
    }

    /// A full bucket of this rate. A rate or burst of 0 counts as 1.
    #[must_use]
    pub fn bucket(self) -> TokenBucket {
        TokenBucket::new(self.per_second, self.burst)
    }
}
