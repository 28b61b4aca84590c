//! Parameters of topics.

use std::time::Duration;

use crate::view::Mode;

/// How many links and how many contacts for new ones an overlay has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewSizes {
    /// Links. Half of them are chosen by this node; for 30 s there may be half as many on top.
    pub active: usize,
    /// Contacts kept for when a link breaks: what decides how many failures at once an overlay
    /// survives (8 and 128 stay connected when 95 % of the nodes vanish).
    pub passive: usize,
}

/// An average and a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// On average.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

/// What is allowed to others; more is dropped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimits {
    /// Messages of one publisher in one topic.
    pub publisher: RateLimit,
    /// Names of messages unknown here that one neighbour announces.
    pub ihave_ids: RateLimit,
    /// Signatures checked for one neighbour.
    pub signatures: RateLimit,
}

/// Parameters of topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicsConfig {
    /// The overlay of all nodes.
    pub system: ViewSizes,
    /// The overlay of any other topic: of six links, where a few publish, hardly one would be on no
    /// tree, and every swap would cost a part of one.
    pub topic: ViewSizes,
    /// Topics this node is in at once, the system's included.
    pub topics_max: usize,
    /// Bundles of messages on the way to one neighbour.
    pub window: usize,
    /// Bytes of messages in one bundle: what fits in a datagram. A longer message goes alone.
    pub bundle_bytes: usize,
    /// Messages that wait for one neighbour; more are left out and repaired later.
    pub queue_messages: usize,
    /// Their bytes.
    pub queue_bytes: usize,
    /// Publishes of this node that wait for room; more are refused.
    pub publishes_max: usize,
    /// Payload kept for repair, in bytes over all topics.
    pub cache_bytes: usize,
    /// Publishers remembered in one topic.
    pub publishers_max: usize,
    /// Messages that neighbours say they have and this node has not, over all topics.
    pub missing_max: usize,
    /// The same of one neighbour in one topic.
    pub missing_per_peer: usize,
    /// How much of the network this node knows, until told otherwise.
    pub mode: Mode,
    /// Copies of a message that a node lets come; `None`: one in a fleet, where all are friends, and
    /// two elsewhere, so that one hostile neighbour cannot make a node deaf.
    pub parents: Option<usize>,
    /// Limits among members of a fleet.
    pub fleet: PeerLimits,
    /// Limits among strangers.
    pub open: PeerLimits,
    /// Time between two announcements of a topic.
    pub announce_interval: Duration,
    /// Whether signatures are made and checked. False only in large simulations.
    pub verify: bool,
}

impl Default for TopicsConfig {
    fn default() -> Self {
        let rate = |per_second, burst| RateLimit { per_second, burst };
        Self {
            system: ViewSizes { active: 8, passive: 128 },
            topic: ViewSizes { active: 8, passive: 64 },
            topics_max: 64,
            window: 16,
            bundle_bytes: 960,
            queue_messages: 8_192,
            queue_bytes: 2 << 20,
            publishes_max: 256,
            cache_bytes: 16 << 20,
            publishers_max: 4_096,
            missing_max: 8_192,
            missing_per_peer: 2_048,
            mode: Mode::Open,
            parents: None,
            // As much as one core can check, roughly.
            fleet: PeerLimits {
                publisher: rate(20_000, 40_000),
                ihave_ids: rate(20_000, 40_000),
                signatures: rate(20_000, 40_000),
            },
            open: PeerLimits {
                publisher: rate(10, 50),
                ihave_ids: rate(500, 2_000),
                signatures: rate(500, 2_000),
            },
            announce_interval: Duration::from_secs(600),
            verify: true,
        }
    }
}

impl TopicsConfig {
    /// The limits in `mode`.
    #[must_use]
    pub const fn limits(&self, mode: Mode) -> &PeerLimits {
        match mode {
            Mode::Fleet => &self.fleet,
            Mode::Open => &self.open,
        }
    }

    /// How many copies of a message a node lets come in `mode`.
    pub(super) fn parents(&self, mode: Mode) -> usize {
        let usual = match mode {
            Mode::Fleet => 1,
            Mode::Open => 2,
        };
        self.parents.unwrap_or(usual).max(1)
    }
}
