//! What the clocks of peers show beside this node's own.
//!
//! Each answer carries what the answerer's wall clock shows. The offset of this node's clock is the
//! median of what distinct peers last said, this node's own clock counted as one of them: so it
//! takes a majority of the peers to talk a node out of a right clock, and in a network of two each
//! keeps its own.

use std::time::Duration;

use potluck_base::{Instant, LruMap, PublicKey, UnixMillis};

use crate::link::Link;

/// Peers whose clocks are remembered: the last that answered.
const PEERS_MAX: usize = 64;
/// An answer that took longer says too little: it may be wrong by half of that time.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(2);
/// What a peer said is forgotten after this: its clock, or ours, may have been set since.
const SAMPLE_LIFE: Duration = Duration::from_secs(10 * 60);
/// And after this once the machine may have slept.
const DOUBTED_LIFE: Duration = Duration::from_secs(30);
/// A wall clock that differs by more than this from where it was to be was set, in milliseconds.
const LEAP_MS: u128 = 1_000;

/// How far the clocks of the peers lie ahead of this node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    /// Milliseconds to add to this node's clock; negative if it runs ahead.
    pub millis: i64,
    /// How many peers said so, and otherwise.
    pub peers: usize,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    millis: i64,
    good_until: Instant,
}

/// This node's wall clock, and the offsets of those of its peers.
#[derive(Debug)]
pub(crate) struct PeerClocks {
    told: Option<(Instant, UnixMillis)>,
    samples: LruMap<PublicKey, Sample>,
}

impl PeerClocks {
    pub(crate) fn new() -> Self {
        Self { told: None, samples: LruMap::new(PEERS_MAX) }
    }

    /// The wall clock shows this. If it was set since the last time, the peers' clocks were not: what
    /// they said is off by as much as it was moved.
    pub(crate) fn set(&mut self, now: Instant, wall: UnixMillis) {
        let expected = self.wall(now);
        self.told = Some((now, wall));
        let moved = expected.map_or(0, |expected| i128::from(wall.0) - i128::from(expected.0));
        if moved.unsigned_abs() > LEAP_MS {
            self.change_each(|said| {
                let millis = i128::from(said.millis) - moved;
                said.millis = i64::try_from(millis).unwrap_or(i64::MAX);
            });
        }
    }

    /// The machine may have slept: then the wall clock rightly leapt, and the samples will be wrong
    /// until the peers say something new. They count for [`DOUBTED_LIFE`] more at most.
    fn doubt(&mut self, now: Instant) {
        self.change_each(|said| said.good_until = said.good_until.min(now + DOUBTED_LIFE));
    }

    fn change_each(&mut self, change: impl Fn(&mut Sample)) {
        let peers: Vec<PublicKey> = self.samples.iter().map(|(peer, _)| *peer).collect();
        for peer in peers {
            if let Some(said) = self.samples.get_mut(&peer) {
                change(said);
            }
        }
    }

    /// What the wall clock shows.
    pub(crate) fn wall(&self, now: Instant) -> Option<UnixMillis> {
        let (at, wall) = self.told?;
        let since = u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
        Some(UnixMillis(wall.0.saturating_add(since)))
    }

    /// `peer` answered after `rtt` that its clock shows `theirs`.
    fn learn(&mut self, now: Instant, peer: &PublicKey, theirs: UnixMillis, rtt: Duration) {
        let Some(ours) = self.wall(now) else { return };
        if theirs.0 == 0 || rtt > ROUND_TRIP_MAX {
            return;
        }
        let then = i128::from(theirs.0) + (rtt / 2).as_millis() as i128;
        let millis = i64::try_from(then - i128::from(ours.0)).unwrap_or(i64::MAX);
        self.samples.insert(*peer, Sample { millis, good_until: now + SAMPLE_LIFE });
    }

    /// The median offset; `None` if no peer said anything lately.
    #[expect(clippy::indexing_slicing, reason = "there is one at least, and its middle is in it")]
    fn offset(&self, now: Instant) -> Option<ClockOffset> {
        let fresh = self.samples.iter().filter(|(_, said)| now < said.good_until);
        let mut offsets: Vec<i64> = fresh.map(|(_, said)| said.millis).collect();
        let peers = offsets.len();
        if peers == 0 {
            return None;
        }
        offsets.push(0);
        offsets.sort_unstable();
        // Of the two in the middle the smaller change of this node's own clock.
        let (low, high) = (offsets[(offsets.len() - 1) / 2], offsets[offsets.len() / 2]);
        let millis = if low.unsigned_abs() <= high.unsigned_abs() { low } else { high };
        Some(ClockOffset { millis, peers })
    }
}

impl Link {
    /// How far the clocks of the peers lie ahead of this node's, as they said in the last ten
    /// minutes; `None` if none did.
    #[must_use]
    pub fn clock_offset(&self, now: Instant) -> Option<ClockOffset> {
        self.clock.offset(now)
    }

    /// The machine may have slept: what was said of its clock is soon forgotten.
    pub fn doubt_clock_offset(&mut self, now: Instant) {
        self.clock.doubt(now);
    }

    pub(crate) fn learn_clock(
        &mut self,
        now: Instant,
        peer: &PublicKey,
        theirs: UnixMillis,
        rtt: Duration,
    ) {
        self.clock.learn(now, peer, theirs, rtt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn peer(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    /// The offset of a node whose clock shows ten hours, beside peers with these offsets.
    fn offset(peers: &[i64]) -> Option<i64> {
        let mut clocks = PeerClocks::new();
        clocks.set(at(1), UnixMillis(10 * HOUR as u64));
        for (number, peer_offset) in peers.iter().enumerate() {
            let theirs = UnixMillis((10 * HOUR + peer_offset) as u64);
            clocks.learn(at(1), &peer(number as u8), theirs, Duration::ZERO);
        }
        clocks.offset(at(1)).map(|offset| offset.millis)
    }

    #[test]
    fn it_takes_a_majority_to_talk_a_node_out_of_its_clock() {
        assert_eq!(offset(&[]), None);
        assert_eq!(offset(&[HOUR]), Some(0), "one against one");
        assert_eq!(offset(&[HOUR, HOUR]), Some(HOUR));
        assert_eq!(offset(&[HOUR, 0]), Some(0));
        assert_eq!(offset(&[-HOUR, -HOUR, 5]), Some(0), "two of four");
        assert_eq!(offset(&[-HOUR, -HOUR, -HOUR, 5]), Some(-HOUR));
        assert_eq!(offset(&[HOUR, -HOUR, 7]), Some(0));
    }

    #[test]
    fn a_peer_counts_once_and_not_for_ever() {
        let mut clocks = PeerClocks::new();
        clocks.set(at(0), UnixMillis(1_000_000));
        for _ in 0..9 {
            clocks.learn(at(0), &peer(1), UnixMillis(9_000_000), Duration::ZERO);
        }
        clocks.learn(at(0), &peer(2), UnixMillis(1_000_000), Duration::ZERO);
        assert_eq!(clocks.offset(at(0)), Some(ClockOffset { millis: 0, peers: 2 }));
        assert_eq!(clocks.offset(at(600)), None);
    }

    #[test]
    fn half_of_the_round_trip_is_taken_off_and_slow_or_empty_answers_say_nothing() {
        let mut clocks = PeerClocks::new();
        clocks.learn(at(0), &peer(1), UnixMillis(1), Duration::ZERO);
        assert_eq!(clocks.offset(at(0)), None, "the own clock is not known");
        clocks.set(at(0), UnixMillis(5_000));
        let rtt = Duration::from_millis(400);
        for number in 1..4 {
            clocks.learn(at(2), &peer(number), UnixMillis(6_800), rtt);
        }
        clocks.learn(at(2), &peer(4), UnixMillis(99_000), Duration::from_secs(3));
        clocks.learn(at(2), &peer(5), UnixMillis(0), rtt);
        assert_eq!(clocks.offset(at(2)), Some(ClockOffset { millis: 0, peers: 3 }));
    }

    #[test]
    fn a_clock_that_is_set_is_known_to_be_off_at_once() {
        let mut clocks = PeerClocks::new();
        clocks.set(at(0), UnixMillis(7_200_000));
        for number in 1..4 {
            clocks.learn(at(0), &peer(number), UnixMillis(7_200_000), Duration::ZERO);
        }
        let offset = |clocks: &PeerClocks, second| clocks.offset(at(second)).map(|o| o.millis);
        clocks.set(at(1), UnixMillis(7_201_000));
        assert_eq!(offset(&clocks, 1), Some(0), "it only went on");
        clocks.set(at(2), UnixMillis(10_802_000));
        assert_eq!(offset(&clocks, 2), Some(-HOUR), "an hour ahead");
        clocks.set(at(3), UnixMillis(7_203_000));
        assert_eq!(offset(&clocks, 3), Some(0), "put right");
        clocks.doubt(at(4));
        assert_eq!((offset(&clocks, 33), offset(&clocks, 34)), (Some(0), None));
    }
}
