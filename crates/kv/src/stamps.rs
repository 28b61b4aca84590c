//! Work stamps on stores of strangers, in `open` networks.
//!
//! A stranger is a node outside of this node's close group: those within hold the same records, and repair
//! goes by pulls, which this node asks for itself. Strangers may store at a rate without a stamp. Beyond
//! it, or while the store refuses for lack of room, each store must carry a stamp, which is checked before
//! any signature of the request.
//!
//! **Invariant:** the rate of stores without a stamp is bounded whatever the number of strangers, and so
//! is the work that this node does for stamps that others demand of it.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::stamp::StampedStore;
use potluck_base::{Instant, NodeId, Rate, TokenBucket};
use potluck_record::Envelope;
use potluck_wire::Request;
use potluck_wire::puzzle::WorkStamp;

use crate::core::Core;
use crate::event::PeerRequest;

/// Envelopes that all strangers together may store without a stamp: a guess at what a busy node sees of honest ones in
/// calm. Raising it lets a flood store more for nothing; lowering it makes honest writers work.
const FREE: Rate = Rate::new(100, 400);
/// Stamps that this node makes for others' demands: some 2 ms each, so at most 6 % of a core.
const MADE: Rate = Rate::new(30, 120);
/// Time for which stamps are demanded after the last sign of pressure. Shorter, and a flood would be let in
/// by turns.
const PRESSED_FOR: Duration = Duration::from_secs(30);

/// The demands for stamps and the making of them.
#[derive(Debug, Clone)]
pub(crate) struct Stamps {
    free: TokenBucket,
    made: TokenBucket,
    pressed_until: Instant,
    /// Whether stamps were needed when the clock was last read.
    needed: bool,
}

impl Default for Stamps {
    fn default() -> Self {
        Self {
            free: FREE.bucket(),
            made: MADE.bucket(),
            pressed_until: Instant::ZERO,
            needed: false,
        }
    }
}

impl Stamps {
    /// Whether stores of strangers need a stamp now.
    pub(crate) fn are_needed(&self, now: Instant) -> bool {
        now < self.pressed_until
    }

    /// Notes whether they are, for statistics, which are read without a time.
    pub(crate) fn look(&mut self, now: Instant) {
        self.needed = self.are_needed(now);
    }

    /// Whether they were at the last look.
    pub(crate) const fn were_needed(&self) -> bool {
        self.needed
    }

    /// The store refused for lack of room.
    pub(crate) fn press(&mut self, now: Instant) {
        self.pressed_until = self.pressed_until.max(now + PRESSED_FOR);
    }

    /// Whether a store of this many envelopes needs no stamp. Envelopes count, not requests: one request may
    /// hold a thousand of them.
    fn is_free(&mut self, now: Instant, envelopes: usize) -> bool {
        let free = self.free.take(now, u32::try_from(envelopes).unwrap_or(u32::MAX));
        if !free {
            self.press(now);
        }
        free && !self.are_needed(now)
    }

    /// Whether this node may make one more stamp.
    pub(crate) fn may_make(&mut self, now: Instant) -> bool {
        self.made.take(now, 1)
    }
}

/// How a store request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamped {
    /// It needs no stamp, or has one that holds.
    Good,
    /// It needs one.
    Missing,
    /// The one that it has does not hold.
    Wrong,
}

/// Judges a request, and takes the stamp out of it.
pub(crate) fn judge(core: &mut Core, now: Instant, asked: &mut PeerRequest) -> Stamped {
    if core.config.commons {
        return Stamped::Good;
    }
    let Request::Store { envelopes, certificates } = &mut asked.request else {
        return Stamped::Good;
    };
    // Where there are no certificates, the stamp takes their place.
    let stamp = std::mem::take(certificates).into_iter().find_map(|it| WorkStamp::decode(&it));
    if core.close_group.contains(&asked.from.id) {
        return Stamped::Good;
    }
    let Some(stamp) = stamp else {
        let free = core.local.stamps.is_free(now, envelopes.len());
        core.stats.stamps_demanded += u64::from(!free);
        return if free { Stamped::Good } else { Stamped::Missing };
    };
    core.stats.stamps_checked += 1;
    let one = match &envelopes[..] {
        [one] => Envelope::decode(one).ok(),
        _ => None,
    };
    let wall = core.wall(now);
    let good = one.is_some_and(|envelope| {
        let key = envelope.head().key();
        let store = StampedStore { holder: core.me.id, sender: asked.from.contact.public_key, key };
        store.holds(wall, stamp.hour, stamp.number)
    });
    core.stats.stamps_refused += u64::from(!good);
    if good { Stamped::Good } else { Stamped::Wrong }
}

/// A stamp for the store of an envelope at `holder`, if this node may make one now.
pub(crate) fn make(
    core: &mut Core,
    now: Instant,
    holder: NodeId,
    envelope: &Envelope,
) -> Option<Bytes> {
    if core.config.commons || !core.local.stamps.may_make(now) {
        return None;
    }
    let (sender, key) = (core.identity.public_key(), envelope.head().key());
    let hour = StampedStore::hour(core.wall(now));
    let number = StampedStore { holder, sender, key }.make(hour)?;
    core.stats.stamps_made += 1;
    Some(WorkStamp { hour, number }.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn strangers_store_freely_up_to_a_rate_and_again_when_calm() {
        let mut stamps = Stamps::default();
        let free = (0..10_000).filter(|_| stamps.is_free(at(1_000), 1)).count();
        assert_eq!(free, FREE.burst as usize, "one flood, however many send it");
        assert!(stamps.are_needed(at(1_000)) && !stamps.is_free(at(20_000), 1));
        assert!(stamps.are_needed(at(30_999)) && !stamps.are_needed(at(31_000)));
        assert!(stamps.is_free(at(31_000), 1));
        stamps.press(at(40_000));
        assert!(!stamps.is_free(at(41_000), 1), "the store has no room");
    }

    #[test]
    fn demands_of_others_cost_a_bounded_share_of_time() {
        let mut stamps = Stamps::default();
        let made = (0..10_000).filter(|_| stamps.may_make(at(1_000))).count();
        assert_eq!(made, MADE.burst as usize);
    }
}
