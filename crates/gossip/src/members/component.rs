//! Which part of the overlay this node is in, where nobody knows all.
//!
//! Two parts of an open network can each look whole: every node has its links. The DHT crosses such
//! a gap, for its contacts are others. So neighbours agree on the least mark of any node they are
//! linked to, over however many links, and marks change with the hour; a node of the DHT that goes
//! on naming another one is in another part, and links are made to it.
//!
//! A mark is a hash of a public key and the hour. Whoever makes up a smaller one is believed, which
//! does no harm: all who hear of it agree on that. Whoever tells some another one causes them
//! [`BRIDGES`] links in [`BRIDGE_PAUSE`] each, beyond their need, and no more.

use std::time::Duration;

use potluck_base::{Contact, Instant, PublicKey, UnixMillis};
use potluck_wire::Component;

use super::{Members, Output};
use crate::view::Mode;

const HOUR_MILLIS: u64 = 3_600_000;
/// Another mark must be named for so long, while this node's own stays what it is: after a new hour
/// or a newcomer's smaller mark all agree sooner. A link is probed about twice a minute, and a
/// network of 10,000 is six links wide.
const SETTLED: Duration = Duration::from_secs(300);
/// A sighting that was not repeated for so long is forgotten.
const SIGHTING_LIFE: Duration = Duration::from_secs(600);
/// Links made to another part...
const BRIDGES: u32 = 2;
/// ...in this time.
const BRIDGE_PAUSE: Duration = Duration::from_secs(600);

/// Somebody who names another part.
#[derive(Debug, Clone, Copy)]
struct Sighting {
    theirs: Component,
    mine: Component,
    first: Instant,
    last: Instant,
}

/// What is known of this node's part and of others.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    mine: Option<Component>,
    sighting: Option<Sighting>,
    /// Bridges made since then.
    since: Instant,
    bridges: u32,
}

impl Parts {
    /// This node's part in the hour of `wall`.
    fn now(&mut self, me: &PublicKey, wall: UnixMillis) -> Component {
        let hour = u32::try_from(wall.0 / HOUR_MILLIS).unwrap_or(u32::MAX);
        let own = || Component::of(me, hour);
        let mine = self.mine.filter(|mine| mine.hour == hour).unwrap_or_else(own);
        self.mine = Some(mine);
        mine
    }

    /// A neighbour is in the same part by definition: both take the smaller mark.
    fn agree(&mut self, mine: Component, theirs: Component) {
        self.mine = Some(mine.min(theirs));
    }

    /// Somebody who is no neighbour names its part. Whether it has named another one for long enough.
    fn sight(&mut self, now: Instant, mine: Component, theirs: Component) -> bool {
        let known = self.sighting.filter(|known| now.since(known.last) < SIGHTING_LIFE);
        if theirs == mine {
            // What others say of a third part stands.
            self.sighting = known.filter(|known| known.mine == mine);
            return false;
        }
        match known.filter(|known| known.mine == mine) {
            None => {
                self.sighting = Some(Sighting { theirs, mine, first: now, last: now });
                false
            }
            Some(known) if known.theirs == theirs => {
                self.sighting = Some(Sighting { last: now, ..known });
                now.since(known.first) >= SETTLED
            }
            Some(_) => false,
        }
    }

    /// Whether one more bridge may be made.
    fn bridge(&mut self, now: Instant) -> bool {
        if self.bridges == 0 || now.since(self.since) >= BRIDGE_PAUSE {
            self.since = now;
            self.bridges = 0;
        }
        self.bridges += 1;
        self.bridges <= BRIDGES
    }
}

impl Members {
    /// The part of the overlay that this node is in; none in a fleet, where lists are compared.
    pub(super) fn component(&mut self) -> Option<Component> {
        let wall = self.wall.filter(|_| self.mode == Mode::Open)?;
        Some(self.parts.now(&self.me.contact.public_key, wall))
    }

    /// Another node names its part.
    pub(super) fn on_component(&mut self, now: Instant, from: Contact, theirs: Component) {
        let Some(mine) = self.component().filter(|mine| mine.hour == theirs.hour) else { return };
        if self.neighbours.contains(&from.public_key) {
            return self.parts.agree(mine, theirs);
        }
        if self.parts.sight(now, mine, theirs) && self.parts.bridge(now) {
            self.stats.bridges += 1;
            self.outbox.push_back(Output::Bridge(from));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_base::Identity;

    fn key(number: u8) -> PublicKey {
        Identity::from_seed([number; 32]).public_key()
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn part(hour: u32, least: u64) -> Component {
        Component { hour, least }
    }

    #[test]
    fn neighbours_agree_on_the_least_mark_until_the_hour_is_over() {
        let mut parts = Parts::default();
        let wall = UnixMillis(5 * HOUR_MILLIS + 1);
        let own = parts.now(&key(1), wall);
        assert_eq!(own, Component::of(&key(1), 5));
        parts.agree(own, part(5, 3));
        assert_eq!(parts.now(&key(1), wall), part(5, 3));
        parts.agree(part(5, 3), part(5, 9));
        assert_eq!(parts.now(&key(1), wall), part(5, 3));
        let later = UnixMillis(6 * HOUR_MILLIS);
        assert_eq!(parts.now(&key(1), later), Component::of(&key(1), 6));
    }

    #[test]
    fn another_part_is_one_that_is_named_for_five_minutes() {
        let mut parts = Parts::default();
        let (mine, theirs) = (part(5, 3), part(5, 7));
        assert!(!parts.sight(at(0), mine, theirs));
        assert!(!parts.sight(at(299), mine, theirs));
        // Those of this node's own part say nothing about the other.
        assert!(!parts.sight(at(299), mine, mine));
        assert!(parts.sight(at(300), mine, theirs));
        // A smaller mark came: it starts anew.
        assert!(!parts.sight(at(301), part(5, 2), theirs));
        assert!(!parts.sight(at(600), part(5, 2), theirs));
        assert!(parts.sight(at(602), part(5, 2), theirs));
        // Not named for ten minutes, it is forgotten.
        assert!(!parts.sight(at(1_300), part(5, 2), theirs));
    }

    #[test]
    fn whoever_invents_parts_causes_two_links_in_ten_minutes() {
        let mut parts = Parts::default();
        let made = (0..100).filter(|second| parts.bridge(at(*second))).count();
        assert_eq!(made, 2);
        assert!(!parts.bridge(at(599)));
        assert!(parts.bridge(at(601)));
    }
}
