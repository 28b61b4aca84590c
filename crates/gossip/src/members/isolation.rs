//! The isolation guard: if half of the probed members vanish at once, this node itself is isolated.
//!
//! While the guard is up no member is suspected and no suspicion ends. It comes down when most
//! probes are answered again; or, since half of a network can really crash, when some are answered
//! and it has been up for a while. While no member answers it stays up: a node without a network
//! declares none dead.

use std::collections::VecDeque;
use std::time::Duration;

use potluck_base::{Instant, PublicKey};

/// Results up to this age count. A lower value forgets answers sooner and raises the guard more
/// often.
const WINDOW: Duration = Duration::from_secs(10);
/// Members probed in the window below which the guard does not rise. A guess: with fewer, one death
/// is half of the neighbours.
const PROBED_MIN: usize = 5;
/// Results kept.
const RESULTS_MAX: usize = 64;
/// After this time up, the guard comes down if any member answers.
const UP_MIN: Duration = Duration::from_secs(10);
/// After that it does not rise again for failed probes for this long: the deaths are being counted.
const PAUSE: Duration = Duration::from_secs(60);

/// What the guard did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    /// It rose.
    Isolated,
    /// It came down.
    Reunited,
}

/// The guard.
#[derive(Debug, Clone, Default)]
pub(crate) struct Isolation {
    results: VecDeque<(Instant, PublicKey, bool)>,
    isolated_since: Option<Instant>,
    not_before: Instant,
}

impl Isolation {
    /// Whether verdicts are frozen.
    pub(crate) const fn is_isolated(&self) -> bool {
        self.isolated_since.is_some()
    }

    /// A member was heard from without a probe. Reported once in a while, not for every datagram.
    pub(crate) fn on_heard(&mut self, now: Instant, member: PublicKey) {
        self.note(now, member, true);
    }

    fn note(&mut self, now: Instant, member: PublicKey, good: bool) {
        // One result for each member: the newest.
        self.results.retain(|(_, other, _)| *other != member);
        if self.results.len() == RESULTS_MAX {
            self.results.pop_front();
        }
        self.results.push_back((now, member, good));
    }

    /// A member answered a probe, or did not.
    pub(crate) fn on_result(
        &mut self,
        now: Instant,
        member: PublicKey,
        good: bool,
    ) -> Option<Transition> {
        self.note(now, member, good);
        self.judge(now)
    }

    /// The machine slept, or its address changed.
    pub(crate) fn on_disturbed(&mut self, now: Instant) -> Option<Transition> {
        self.results.clear();
        let was_up = self.isolated_since.replace(now).is_some();
        (!was_up).then_some(Transition::Isolated)
    }

    /// Decides by the results in the window.
    pub(crate) fn judge(&mut self, now: Instant) -> Option<Transition> {
        while self.results.front().is_some_and(|(at, ..)| now.since(*at) > WINDOW) {
            self.results.pop_front();
        }
        let probed = self.results.len();
        let good = self.results.iter().filter(|(_, _, good)| *good).count();
        let Some(since) = self.isolated_since else {
            let half_gone = probed >= PROBED_MIN && good * 2 <= probed;
            if !half_gone || now < self.not_before {
                return None;
            }
            self.isolated_since = Some(now);
            return Some(Transition::Isolated);
        };
        let most_are_here = good > 0 && good * 2 > probed;
        let some_are_here = good > 0 && now.since(since) >= UP_MIN;
        if !most_are_here && !some_are_here {
            return None;
        }
        self.isolated_since = None;
        self.not_before = if most_are_here { now } else { now + PAUSE };
        Some(Transition::Reunited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn key(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    fn probe(guard: &mut Isolation, second: u64, results: &[bool]) -> Vec<Transition> {
        results
            .iter()
            .enumerate()
            .filter_map(|(index, good)| guard.on_result(at(second), key(index as u8), *good))
            .collect()
    }

    #[test]
    fn half_of_the_members_silent_at_once_raises_the_guard() {
        let mut guard = Isolation::default();
        assert!(probe(&mut guard, 1, &[true, true, true, false, false]).is_empty());
        assert_eq!(
            probe(&mut guard, 2, &[true, false, true, false, false]),
            [Transition::Isolated]
        );
        assert_eq!(guard.on_result(at(3), key(1), true), Some(Transition::Reunited));
    }

    #[test]
    fn a_few_members_cannot_raise_the_guard() {
        let mut guard = Isolation::default();
        assert!(probe(&mut guard, 1, &[false, false, false, false]).is_empty());
        assert!(!guard.is_isolated());
    }

    #[test]
    fn a_mass_death_is_believed_when_survivors_keep_answering() {
        let mut guard = Isolation::default();
        assert_eq!(probe(&mut guard, 1, &[false; 5]), [Transition::Isolated]);
        assert_eq!(probe(&mut guard, 9, &[true, false, false, false, false]), []);
        assert_eq!(guard.judge(at(12)), Some(Transition::Reunited));
        assert!(probe(&mut guard, 13, &[true, false, false, false, false]).is_empty());
        assert!(!guard.is_isolated(), "the deaths are being counted");
    }

    #[test]
    fn without_any_answer_the_guard_stays_up() {
        let mut guard = Isolation::default();
        probe(&mut guard, 1, &[false; 8]);
        for hour in 0..48 {
            assert_eq!(guard.judge(at(hour * 3600 + 20)), None);
            assert!(guard.is_isolated());
        }
    }

    #[test]
    fn a_member_heard_without_a_probe_counts_as_an_answer() {
        let mut guard = Isolation::default();
        (10..14).for_each(|number| guard.on_heard(at(1), key(number)));
        assert!(probe(&mut guard, 2, &[false, false, false]).is_empty());
        assert!(!guard.is_isolated(), "three of seven");
    }

    #[test]
    fn sleep_raises_the_guard_until_members_answer() {
        let mut guard = Isolation::default();
        assert_eq!(guard.on_disturbed(at(600)), Some(Transition::Isolated));
        assert_eq!(guard.on_result(at(601), key(1), false), None);
        assert_eq!(guard.on_result(at(602), key(2), true), None);
        assert_eq!(guard.on_result(at(602), key(3), true), Some(Transition::Reunited));
    }
}
