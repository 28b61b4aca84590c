//! When the subscription of a topic began.
//!
//! Neighbours cache messages for ten minutes and send them to a node that lacks them. A node that
//! joins a topic gets messages that were published before, caches and forwards them, but its
//! subscriber asked for those published from now on.
//!
//! **Invariant:** no message is withheld from a subscriber because of a clock that was corrected
//! since, or a machine that slept: of the two possible times at which the subscription began, the
//! earlier one counts.

use std::time::Duration;

use potluck_base::{Instant, UnixMillis};

/// A message dated up to this much before a subscription is delivered, since the clocks of two
/// nodes differ. A higher value delivers older messages to new subscribers; a lower one withholds
/// new messages of a publisher whose clock is behind. `health` warns of a difference of 60 s, hence
/// the value.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

/// The beginning of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subscription {
    at: Instant,
    wall: Option<UnixMillis>,
    /// A reader continues after a message that it got before this node subscribed.
    goes_on: bool,
}

impl Subscription {
    /// A subscription that begins now. `wall`: the corrected wall clock, if it is known.
    pub(super) const fn new(at: Instant, wall: Option<UnixMillis>) -> Self {
        Self { at, wall, goes_on: false }
    }

    /// A reader wants the messages published after one that it has, however old they are.
    pub(super) const fn go_on(&mut self) {
        self.goes_on = true;
    }

    /// Whether a message of this date was certainly published before the subscription began.
    pub(super) fn is_after(
        &self,
        published: UnixMillis,
        now: Instant,
        wall: Option<UnixMillis>,
    ) -> bool {
        let Some(wall) = wall.filter(|_| !self.goes_on) else { return false };
        let by_age = published.plus(now.since(self.at).saturating_add(CLOCKS_DIFFER)) < wall;
        let by_date = self.wall.is_none_or(|began| published.plus(CLOCKS_DIFFER) < began);
        by_age && by_date
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: u64 = 1_700_000_000_000;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn wall(seconds: i64) -> UnixMillis {
        UnixMillis(WALL.saturating_add_signed(seconds * 1_000))
    }

    #[test]
    fn messages_dated_over_a_minute_before_the_subscription_are_withheld() {
        let began = Subscription::new(at(10), Some(wall(0)));
        for (published, before) in [(-61, true), (-60, false), (0, false), (5, false)] {
            assert_eq!(began.is_after(wall(published), at(10), Some(wall(0))), before, "at once");
            assert_eq!(began.is_after(wall(published), at(210), Some(wall(200))), before, "later");
        }
    }

    #[test]
    fn a_corrected_clock_withholds_no_new_message() {
        let ahead = Subscription::new(at(10), Some(wall(3_600)));
        assert!(!ahead.is_after(wall(0), at(10), Some(wall(0))));
        assert!(ahead.is_after(wall(-61), at(10), Some(wall(0))));
        let behind = Subscription::new(at(10), Some(wall(-3_600)));
        assert!(!behind.is_after(wall(0), at(10), Some(wall(0))));
    }

    #[test]
    fn a_machine_that_slept_gets_what_was_published_meanwhile() {
        let began = Subscription::new(at(10), Some(wall(0)));
        assert!(!began.is_after(wall(1), at(11), Some(wall(600))), "monotonic time stood still");
    }

    #[test]
    fn a_reader_that_goes_on_gets_what_it_missed() {
        let mut began = Subscription::new(at(10), Some(wall(0)));
        began.go_on();
        assert!(!began.is_after(wall(-600), at(10), Some(wall(0))));
    }

    #[test]
    fn without_a_clock_no_message_is_withheld() {
        assert!(!Subscription::new(at(10), None).is_after(UnixMillis(0), at(10), None));
        assert!(!Subscription::new(at(10), Some(wall(0))).is_after(UnixMillis(0), at(10), None));
    }
}
