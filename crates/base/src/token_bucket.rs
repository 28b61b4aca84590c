//! The token bucket behind every rate limit.

use std::time::Duration;

use crate::Instant;

/// Allows `burst` at once and `per_second` on average. Kept as one instant (the generic cell rate
/// algorithm, ITU-T I.371), so an idle bucket needs no timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    /// When the bucket will be full again.
    full_at: Instant,
    /// Nanoseconds in which one token comes. Two words instead of two [`Duration`]s, which take twice as
    /// much: tables of peers hold thousands of buckets.
    cost: u64,
    /// Nanoseconds in which an empty bucket fills.
    depth: u64,
}

impl TokenBucket {
    /// A full bucket; see [`crate::Rate::bucket`]. Values of 0 count as 1.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let cost = 1_000_000_000 / u64::from(per_second.max(1));
        let depth = cost.saturating_mul(burst.max(1).into());
        Self { full_at: Instant::ZERO, cost, depth }
    }

    const fn cost_of(&self, tokens: u32) -> Duration {
        Duration::from_nanos(self.cost.saturating_mul(tokens as u64))
    }

    const fn depth(&self) -> Duration {
        Duration::from_nanos(self.depth)
    }

    /// Takes `tokens` at `now`; false if there are not enough, and then nothing is taken.
    pub fn take(&mut self, now: Instant, tokens: u32) -> bool {
        let start = self.full_at.max(now);
        let end = start + self.cost_of(tokens);
        if end.since(now) > self.depth() {
            return false;
        }
        self.full_at = end;
        true
    }

    /// Takes as many of `most` tokens as are there at `now`; gives their number.
    pub fn take_up_to(&mut self, now: Instant, most: u32) -> u32 {
        let start = self.full_at.max(now);
        let there = (now + self.depth()).since(start).as_nanos() / u128::from(self.cost);
        let taken = most.min(u32::try_from(there).unwrap_or(u32::MAX));
        self.full_at = start + self.cost_of(taken);
        taken
    }

    /// Takes `tokens` whether they are there or not. What is missing is owed, up to one depth of the
    /// bucket: more would keep the debtor out for longer than a full bucket lasts.
    pub fn charge(&mut self, now: Instant, tokens: u32) {
        let depth = self.depth();
        let owed = self.full_at.max(now) + self.cost_of(tokens);
        self.full_at = owed.min(now + depth + depth);
    }

    /// How long until `tokens` could be taken; zero if they are there.
    #[must_use]
    pub fn wait(&self, now: Instant, tokens: u32) -> Duration {
        (self.full_at.max(now) + self.cost_of(tokens)).since(now + self.depth())
    }

    /// Whether `tokens` could be taken at `now`.
    #[must_use]
    pub fn has(&self, now: Instant, tokens: u32) -> bool {
        (self.full_at.max(now) + self.cost_of(tokens)).since(now) <= self.depth()
    }

    /// Whether the bucket is full at `now`, so that forgetting it changes nothing.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_average_holds() {
        let mut bucket = TokenBucket::new(10, 5);
        let now = Instant::from_micros(1_000_000);
        assert!((0..5).all(|_| bucket.take(now, 1)));
        assert!(!bucket.take(now, 1));
        let later = now + Duration::from_millis(100);
        assert!(bucket.take(later, 1) && !bucket.take(later, 1));
        assert!(bucket.is_full(later + Duration::from_millis(500)));
    }
    #[test]
    fn of_too_many_tokens_those_are_taken_that_are_there() {
        let (mut bucket, now) = (TokenBucket::new(10, 5), Instant::from_micros(1_000_000));
        assert_eq!((bucket.take_up_to(now, 3), bucket.take_up_to(now, 3)), (3, 2));
        assert_eq!((bucket.take_up_to(now, 3), bucket.take(now, 1)), (0, false));
        let later = now + Duration::from_millis(250);
        assert_eq!((bucket.take_up_to(later, 9), bucket.take_up_to(later, 9)), (2, 0));
        bucket.charge(later, 50);
        assert_eq!(bucket.take_up_to(later, 1), 0, "it owes");
    }

    #[test]
    fn a_charge_is_owed_up_to_one_depth_and_the_wait_says_how_long() {
        let mut bucket = TokenBucket::new(10, 5);
        let now = Instant::from_micros(1_000_000);
        bucket.charge(now, 7);
        assert!(!bucket.has(now, 0) && !bucket.take(now, 1));
        assert_eq!(bucket.wait(now, 1), Duration::from_millis(300));
        let later = now + Duration::from_millis(300);
        assert_eq!(bucket.wait(later, 1), Duration::ZERO);
        assert!(bucket.take(later, 1));
        bucket.charge(later, u32::MAX);
        assert_eq!(bucket.wait(later, 0), Duration::from_millis(500), "one depth");
    }
}
