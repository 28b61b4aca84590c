//! The time as the peers correct it, and what follows when the clock or the identity is not to be
//! trusted.
//!
//! What was read is judged by the corrected time, however far it is off. Nothing is signed under a
//! correction of more than five minutes: replicas would refuse it if the peers were wrong.

use potluck_base::{Instant, Machine as _, UnixMillis};
use potluck_gossip::{TopicsInput, members};
use potluck_link::ClockOffset;
use potluck_record::limits::CLOCK_AHEAD_MAX;

use super::Node;
use crate::output::{Event, Output};

impl Node {
    /// How far the clocks of the peers lie ahead of this node's, as they say.
    #[must_use]
    pub fn clock_offset(&self, now: Instant) -> Option<ClockOffset> {
        self.link.clock_offset(now)
    }

    /// The wall clock shows `wall`: all parts are told the time as the peers correct it.
    pub(super) fn tell_time(&mut self, now: Instant, wall: UnixMillis) {
        self.link.set_wall_clock(now, wall);
        let offset = self.clock_offset(now).map_or(0, |offset| offset.millis);
        self.clock_off = u128::from(offset.unsigned_abs()) > CLOCK_AHEAD_MAX.as_millis();
        let corrected = UnixMillis(wall.0.saturating_add_signed(offset));
        self.kv.handle(now, potluck_kv::Input::WallClock { now: corrected, offset });
        self.gossip.members.handle(now, members::Input::WallClock(corrected));
        self.gossip.topics.handle(now, TopicsInput::WallClock(corrected));
    }

    /// Another machine runs with this node's identity: nothing is written or published any more.
    pub(super) fn on_elsewhere(&mut self, now: Instant) {
        if std::mem::replace(&mut self.elsewhere, true) {
            return;
        }
        self.kv.handle(now, potluck_kv::Input::Elsewhere);
        self.outbox.push_back(Output::Event(Event::IdentityElsewhere));
    }
}
