//! Parameters of topics.

use std::time::Duration;

use potluck_base::{Defences, Rate};

use crate::view::Mode;

/// The sizes of an overlay's views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewSizes {
    /// Links. Half of them are this node's own choice; for 30 s there may be half as many more. A
    /// higher value survives more failures and costs more announcements.
    pub active: usize,
    /// Contacts in the passive view. They decide how many simultaneous failures an overlay
    /// survives: with 8 links and 128 contacts it stays connected when 95 % of the nodes vanish.
    pub passive: usize,
}

/// Limits for other nodes. Messages above them are dropped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimits {
    /// Messages of one publisher in one topic.
    pub publisher: Rate,
    /// Announced ids of unknown messages, of one neighbour.
    pub ihave_ids: Rate,
    /// Signatures checked for one neighbour.
    pub signatures: Rate,
}

/// The queue of one neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Bundles in flight to one neighbour. A higher value fills longer paths and lets a slow
    /// neighbour receive more at once.
    pub window: usize,
    /// Bytes of messages in one bundle, chosen to fit in a datagram. A longer message is sent alone.
    pub bundle_bytes: usize,
    /// Messages queued for one neighbour; further ones are only announced and repaired later.
    pub messages: usize,
    /// Payload bytes queued for one neighbour.
    pub bytes: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { window: 16, bundle_bytes: 960, messages: 8_192, bytes: 2 << 20 }
    }
}

/// Parameters of topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicsConfig {
    /// The views of the system topic.
    pub system: ViewSizes,
    /// The views of any other topic. With six links and a few publishers hardly a link would be
    /// lazy on every tree, and every replaced link would cost a part of one.
    pub topic: ViewSizes,
    /// Topics this node is in at once, the system's included.
    pub topics_max: usize,
    /// The queue of one neighbour.
    pub queue: QueueLimits,
    /// Publishes of this node that wait for room; further ones are refused.
    pub publishes_max: usize,
    /// Payload bytes cached for repair, over all topics. A higher value repairs nodes that were
    /// away for longer.
    pub cache_bytes: usize,
    /// Publishers remembered in one topic. A message of a forgotten publisher may be delivered
    /// twice.
    pub publishers_max: usize,
    /// Messages announced by neighbours that this node lacks, over all topics.
    pub missing_max: usize,
    /// The same limit for one neighbour in one topic.
    pub missing_per_peer: usize,
    /// The mode until another one is set.
    pub mode: Mode,
    /// Copies of each message that a node accepts. `None`: one in a fleet, whose members trust each
    /// other, and two elsewhere, so that one hostile neighbour cannot cut a node off.
    pub parents: Option<usize>,
    /// Limits among members of a fleet.
    pub fleet: PeerLimits,
    /// Limits among strangers.
    pub open: PeerLimits,
    /// Time between two announcements of a topic in the DHT.
    pub announce_interval: Duration,
    /// Whether signatures are made and checked. False only in large simulations.
    pub verify: bool,
    /// The enabled defences. All are enabled, except in tests that show the effect of one.
    pub defences: Defences,
}

impl Default for TopicsConfig {
    fn default() -> Self {
        Self {
            system: ViewSizes { active: 8, passive: 128 },
            topic: ViewSizes { active: 8, passive: 64 },
            topics_max: 64,
            queue: QueueLimits::default(),
            publishes_max: 256,
            cache_bytes: 16 << 20,
            publishers_max: 4_096,
            missing_max: 8_192,
            missing_per_peer: 2_048,
            mode: Mode::Open,
            parents: None,
            // About as much as one core can verify.
            fleet: PeerLimits {
                publisher: Rate::new(20_000, 40_000),
                ihave_ids: Rate::new(20_000, 40_000),
                signatures: Rate::new(20_000, 40_000),
            },
            open: PeerLimits {
                publisher: Rate::new(10, 50),
                ihave_ids: Rate::new(500, 2_000),
                signatures: Rate::new(500, 2_000),
            },
            announce_interval: Duration::from_secs(600),
            verify: true,
            defences: Defences::default(),
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

    /// How many copies of a message a node accepts in `mode`.
    pub(super) fn parents(&self, mode: Mode) -> usize {
        let usual = match mode {
            Mode::Fleet => 1,
            Mode::Open => 2,
        };
        self.parents.unwrap_or(usual).max(1)
    }
}
