//! The partition of the overlay that this node is in, in open networks.
//!
//! Each of two partitions of an open network can look whole: every node has its links. The DHT
//! crosses the gap, since its contacts are others. So neighbours agree on the lowest mark of any
//! node that they are linked to, over however many hops, and marks change every hour. A DHT contact
//! that keeps naming another partition is in another one, and links to it are made.
//!
//! A mark is a hash of a public key and the hour. A node may claim an invented lower mark. The claim does no
//! harm in its own partition: all nodes that hear of it agree on it. A node that names an invented partition
//! to others causes each of them one surplus link in [`BRIDGE_PAUSE`]; many such nodes cause [`BRIDGES`]. A
//! few nodes with false claims cannot hide another partition, because the statements of one node do not
//! displace those of others.

use std::time::Duration;

use potluck_base::{Instant, PublicKey, UnixMillis};
use potluck_wire::PartitionId;

const HOUR_MILLIS: u64 = 3_600_000;
/// Another partition must be named for this long, while this node's own stays the same. After a new
/// hour or a newcomer's lower mark all nodes agree sooner: a link is probed about twice a minute,
/// and a network of 10,000 nodes is six hops wide.
const SETTLED: Duration = Duration::from_secs(300);
/// A sighting that is not repeated for this long is forgotten.
const SIGHTING_LIFE: Duration = Duration::from_secs(600);
/// Sightings remembered. Raising it requires more nodes with false claims in a node's close group to fill the
/// list.
const SIGHTINGS_MAX: usize = 8;
/// Bridge links made to other partitions in [`BRIDGE_PAUSE`]. A higher value joins partitions faster and lets
/// nodes with false claims cause more links.
const BRIDGES: usize = 2;
/// The time over which bridge links are counted; each node gets one at most.
const BRIDGE_PAUSE: Duration = Duration::from_secs(600);

/// A node that names another partition.
#[derive(Debug, Clone, Copy)]
struct Sighting {
    by: PublicKey,
    theirs: PartitionId,
    mine: PartitionId,
    first: Instant,
    last: Instant,
}

/// This node's partition and the sightings of others.
#[derive(Debug, Clone, Default)]
pub(super) struct Partitions {
    mine: Option<PartitionId>,
    sightings: Vec<Sighting>,
    /// When the count of bridges began, and in `bridges` the nodes to which they were made.
    since: Instant,
    bridges: Vec<PublicKey>,
}

impl Partitions {
    /// This node's partition in the hour of `wall`.
    pub(super) fn now(&mut self, me: &PublicKey, wall: UnixMillis) -> PartitionId {
        let hour = u32::try_from(wall.0 / HOUR_MILLIS).unwrap_or(u32::MAX);
        let own = || PartitionId::of(me, hour);
        let mine = self.mine.filter(|mine| mine.hour == hour).unwrap_or_else(own);
        self.mine = Some(mine);
        mine
    }

    /// A neighbour is in the same partition by definition: both take the lower mark.
    pub(super) fn agree(&mut self, mine: PartitionId, theirs: PartitionId) {
        self.mine = Some(mine.min(theirs));
    }

    /// A node that is no neighbour names its partition. Returns whether it has named another one
    /// for long enough.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        by: PublicKey,
        mine: PartitionId,
        theirs: PartitionId,
    ) -> bool {
        self.sightings.retain(|known| known.mine == mine && now.since(known.last) < SIGHTING_LIFE);
        let new = Sighting { by, theirs, mine, first: now, last: now };
        if theirs == mine {
            self.sightings.retain(|known| known.by != by);
            return false;
        }
        let full = self.sightings.len() >= SIGHTINGS_MAX;
        match self.sightings.iter_mut().find(|known| known.by == by) {
            Some(known) if known.theirs == theirs => {
                known.last = now;
                return now.since(known.first) >= SETTLED;
            }
            Some(known) => *known = new,
            None if full => {}
            None => self.sightings.push(new),
        }
        false
    }

    /// Whether one more bridge may be made, to this node.
    pub(super) fn bridge(&mut self, now: Instant, to: PublicKey) -> bool {
        if self.bridges.is_empty() || now.since(self.since) >= BRIDGE_PAUSE {
            self.since = now;
            self.bridges.clear();
        }
        let may = self.bridges.len() < BRIDGES && !self.bridges.contains(&to);
        if may {
            self.bridges.push(to);
        }
        may
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

    fn part(hour: u32, least: u64) -> PartitionId {
        PartitionId { hour, least }
    }

    #[test]
    fn neighbours_agree_on_the_lowest_mark_until_the_hour_is_over() {
        let mut parts = Partitions::default();
        let wall = UnixMillis(5 * HOUR_MILLIS + 1);
        let own = parts.now(&key(1), wall);
        assert_eq!(own, PartitionId::of(&key(1), 5));
        parts.agree(own, part(5, 3));
        assert_eq!(parts.now(&key(1), wall), part(5, 3));
        parts.agree(part(5, 3), part(5, 9));
        assert_eq!(parts.now(&key(1), wall), part(5, 3));
        let later = UnixMillis(6 * HOUR_MILLIS);
        assert_eq!(parts.now(&key(1), later), PartitionId::of(&key(1), 6));
    }

    #[test]
    fn another_partition_counts_after_it_was_named_for_five_minutes() {
        let mut parts = Partitions::default();
        let (mine, theirs) = (part(5, 3), part(5, 7));
        let mut sight = |seconds, mine, theirs| parts.observe(at(seconds), key(1), mine, theirs);
        assert!(!sight(0, mine, theirs));
        assert!(!sight(299, mine, theirs));
        assert!(sight(300, mine, theirs));
        // A lower mark came: the time starts anew.
        assert!(!sight(301, part(5, 2), theirs));
        assert!(!sight(600, part(5, 2), theirs));
        assert!(sight(602, part(5, 2), theirs));
        // Not named for ten minutes, the sighting is forgotten.
        assert!(!sight(1_300, part(5, 2), theirs));
        // It joined this partition, or names a third one.
        assert!(!sight(1_400, part(5, 2), part(5, 2)));
        assert!(!sight(1_600, part(5, 2), theirs));
        assert!(!sight(1_700, part(5, 2), part(5, 9)));
        assert!(!sight(1_901, part(5, 2), part(5, 9)));
        assert!(sight(2_000, part(5, 2), part(5, 9)));
    }

    #[test]
    fn invented_partitions_do_not_hide_a_real_one() {
        let mut parts = Partitions::default();
        let (mine, theirs) = (part(5, 3), part(5, 7));
        let mut found = false;
        for second in 0..=300 {
            for liar in 1..SIGHTINGS_MAX as u8 {
                parts.observe(at(second), key(liar), mine, part(5, second + u64::from(liar)));
            }
            // Nodes of this partition say nothing about the other one.
            parts.observe(at(second), key(99), mine, mine);
            found = parts.observe(at(second), key(50), mine, theirs);
        }
        assert!(found);
        parts.observe(at(301), key(60), mine, theirs);
        parts.observe(at(301), key(61), mine, theirs);
        assert_eq!(parts.sightings.len(), SIGHTINGS_MAX);
    }

    #[test]
    fn a_liar_about_partitions_causes_one_link_in_ten_minutes_and_many_cause_two() {
        let mut parts = Partitions::default();
        assert_eq!((0..100).filter(|second| parts.bridge(at(*second), key(1))).count(), 1);
        let others = (100..140).filter(|second| parts.bridge(at(*second), key(*second as u8)));
        assert_eq!(others.count(), 1);
        assert!(!parts.bridge(at(599), key(7)));
        assert!(parts.bridge(at(601), key(1)));
    }
}
