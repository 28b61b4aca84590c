//! The state that the broadcast keeps of one neighbour.

use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{Contact, Instant, PublicKey, Rate, RoundTrip, Salt, TokenBucket};

use super::super::shared::Shared;
use super::eager_trees::EagerTrees;
use super::peer_queue::PeerQueue;
use super::tree::Tree;

/// Messages that one neighbour may graft.
const REPAIRS: Rate = Rate::new(4_000, 8_000);
/// This node's publishers do not wait for a neighbour that acknowledged nothing for this long.
const STALLED_AFTER: Duration = Duration::from_secs(2);
/// A neighbour that reports full queues slows this node's publishers for this time.
const BUSY_FOR: Duration = Duration::from_millis(100);
/// Longest uninterrupted time for which such reports slow publishers, so that no neighbour can stop
/// them.
const BUSY_MAX: Duration = Duration::from_secs(5);
/// Time after the first report at which reports count again.
const BUSY_BREAK: Duration = Duration::from_secs(30);
/// Round-trip time assumed before the first sample. A higher value makes the first graft of a new
/// link later.
const RTT_UNKNOWN: Duration = Duration::from_millis(250);

/// The state that the broadcast keeps of one neighbour.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// The salt and the address of its contact; its key is the key in the map.
    salt: Option<Salt>,
    address: SocketAddr,
    /// Since when the neighbour has been in the topic: it wants no older messages.
    pub(super) joined: Instant,
    /// It does not answer; nothing is pushed to it until it does.
    pub(super) silent: bool,
    /// The trees on which the link is eager; messages of all others are only announced.
    pub(super) eager_trees: EagerTrees,
    /// Its score is too low: no eager link, and no grafts from it.
    pub(super) distrusted: bool,
    pub(super) rtt: RoundTrip,
    pub(super) queue: PeerQueue,
    pub(super) ihave_ids: TokenBucket,
    pub(super) signatures: TokenBucket,
    pub(super) repairs: TokenBucket,
    /// Before then it is not charged for an unanswered graft.
    pub(super) blame_from: Instant,
    busy_since: Option<Instant>,
    busy_until: Instant,
}

impl Peer {
    pub(super) fn new(shared: &Shared, contact: Contact, joined: Instant) -> Self {
        Self {
            salt: contact.salt,
            address: contact.address,
            joined,
            silent: false,
            eager_trees: EagerTrees::default(),
            distrusted: false,
            rtt: RoundTrip::default(),
            queue: PeerQueue::default(),
            ihave_ids: shared.limits().ihave_ids.bucket(),
            signatures: shared.limits().signatures.bucket(),
            repairs: REPAIRS.bucket(),
            blame_from: Instant::ZERO,
            busy_since: None,
            busy_until: Instant::ZERO,
        }
    }

    /// The smoothed round-trip time of the link, or [`RTT_UNKNOWN`] before the first sample.
    pub(super) fn round_trip(&self) -> Duration {
        self.rtt.smoothed().unwrap_or(RTT_UNKNOWN)
    }

    /// The time that about 19 of 20 round trips stay below: two mean deviations above the smoothed
    /// time.
    pub(super) fn round_trip_p95(&self) -> Duration {
        self.rtt.with_deviations(2).unwrap_or(RTT_UNKNOWN)
    }

    /// Where the neighbour with this key is.
    pub(super) const fn contact(&self, public_key: PublicKey) -> Contact {
        Contact { public_key, salt: self.salt, address: self.address }
    }

    /// The neighbour sent a request from this address.
    pub(super) const fn set_contact(&mut self, contact: Contact) {
        (self.salt, self.address) = (contact.salt, contact.address);
    }

    /// Whether the link counts as working.
    pub(super) const fn is_healthy(&self) -> bool {
        !self.silent
    }

    /// Whether messages of this tree are pushed over this link now.
    pub(super) fn is_eager(&self, tree: Tree) -> bool {
        self.eager_trees.is_eager(tree) && self.is_healthy()
    }

    /// Whether the link may be eager.
    pub(super) fn may_be_eager(&self) -> bool {
        self.is_healthy() && !self.distrusted
    }

    /// The neighbour reports whether its own queues fill up.
    pub(super) fn note_busy(&mut self, now: Instant, busy: bool) {
        let since = *self.busy_since.get_or_insert(now);
        match now.since(since) {
            lasted if lasted >= BUSY_BREAK => self.busy_since = busy.then_some(now),
            lasted if lasted >= BUSY_MAX => return,
            _ if !busy => self.busy_since = None,
            _ => {}
        }
        self.busy_until = if busy { now + BUSY_FOR } else { Instant::ZERO };
    }

    /// Until when this node's own publishers wait for this neighbour because of queued messages;
    /// `None` if it has room below `high_water`. An acknowledgement may end the wait sooner.
    pub(super) fn blocks_until(&self, now: Instant, high_water: usize) -> Option<Instant> {
        if now < self.busy_until {
            return Some(self.busy_until);
        }
        // After a pause one bundle at a time, until it reports room.
        let trial = self.busy_until + BUSY_FOR;
        if now < trial && self.busy_until > Instant::ZERO && self.queue.in_flight > 0 {
            return Some(trial);
        }
        let stalled = self.queue.waiting_since? + STALLED_AFTER;
        (self.queue.len() >= high_water && now < stalled).then_some(stalled)
    }
}
