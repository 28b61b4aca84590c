//! One suspicion: the time that a member has to refute.
//!
//! The time shrinks with each member that confirms the suspicion, as in Lifeguard: `max - (max -
//! min) * ln(c + 1) / ln(k + 1)`. It never falls below the minimum: the claims of others can make
//! this node decide sooner, not what it decides.

use std::time::Duration;

use potluck_base::{Instant, PublicKey};

/// Confirmations that shorten a suspicion; further ones change nothing.
pub(crate) const CONFIRMATIONS: usize = 3;

/// A suspicion.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Suspicion {
    began: Instant,
    min: Duration,
    max: Duration,
    /// The most confirmations that are possible.
    wanted: usize,
    confirmed: Vec<PublicKey>,
}

impl Suspicion {
    /// A suspicion that began now. `others`: the number of members that could confirm it.
    pub(crate) fn new(began: Instant, min: Duration, factor: u32, others: usize) -> Self {
        let wanted = others.min(CONFIRMATIONS);
        Self { began, min, max: min * factor.max(1), wanted, confirmed: Vec::new() }
    }

    /// Another member could not reach it either. Returns whether that was new.
    pub(crate) fn confirm(&mut self, from: PublicKey) -> bool {
        if self.confirmed.len() >= self.wanted || self.confirmed.contains(&from) {
            return false;
        }
        self.confirmed.push(from);
        true
    }

    /// The time of the first recheck, and the interval after it: one recheck before the earliest
    /// end.
    pub(crate) fn rechecks(&self) -> (Instant, Duration) {
        (self.began + self.min / 2, self.min)
    }

    /// When it began.
    pub(crate) const fn began(&self) -> Instant {
        self.began
    }

    /// When it ends.
    pub(crate) fn ends(&self) -> Instant {
        if self.wanted == 0 {
            return self.began + self.min;
        }
        let share = ((self.confirmed.len() + 1) as f64).ln() / ((self.wanted + 1) as f64).ln();
        self.began + (self.max - (self.max - self.min).mul_f64(share.min(1.0)))
    }

    /// Begins anew: this node was isolated, so the time so far proves nothing.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.began = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_secs(5);

    fn key(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    #[test]
    fn a_suspect_is_rechecked_before_the_earliest_end_and_at_equal_intervals() {
        let suspicion = Suspicion::new(Instant::ZERO + MIN, MIN, 6, 50);
        assert_eq!(suspicion.rechecks(), (Instant::ZERO + MIN * 3 / 2, MIN));
    }

    #[test]
    fn each_confirmation_shortens_it_down_to_the_minimum_and_none_below() {
        let mut suspicion = Suspicion::new(Instant::ZERO, MIN, 6, 50);
        let mut last = suspicion.ends();
        assert_eq!(last, Instant::ZERO + MIN * 6);
        for number in 1..=3 {
            assert!(suspicion.confirm(key(number)));
            assert!(suspicion.ends() < last);
            last = suspicion.ends();
        }
        assert_eq!(last, Instant::ZERO + MIN);
        assert!(!suspicion.confirm(key(9)), "a fourth one changes nothing");
        assert_eq!(suspicion.ends(), last);
    }

    #[test]
    fn a_repeated_confirmation_counts_once() {
        let mut suspicion = Suspicion::new(Instant::ZERO, MIN, 6, 50);
        assert!(suspicion.confirm(key(1)));
        let ends = suspicion.ends();
        assert!(!suspicion.confirm(key(1)));
        assert_eq!(suspicion.ends(), ends);
    }

    #[test]
    fn without_possible_confirmations_the_minimum_holds() {
        let suspicion = Suspicion::new(Instant::ZERO, MIN, 6, 0);
        assert_eq!(suspicion.ends(), Instant::ZERO + MIN);
    }
}
