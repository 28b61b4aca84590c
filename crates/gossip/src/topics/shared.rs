//! The state that all topics share.

use std::collections::VecDeque;

use potluck_base::{
    Contact, Identity, Instant, NetworkId, PublicKey, Rate, Rng, TokenBucket, UnixMillis,
};
use potluck_wire::{InTopic, TopicId, TopicRequest, TopicResponse};

use super::asks::{ASKS_MAX, PendingRequest, PendingRequests, Purpose};
use super::config::{PeerLimits, TopicsConfig};
use super::events::{TopicServeId, TopicsOutput};
use super::scores::Scores;
use super::stats::TopicsStats;
use crate::view::Mode;

/// This node.
#[derive(Debug, Clone)]
pub(super) struct Me {
    pub(super) identity: Identity,
    pub(super) network: NetworkId,
    pub(super) incarnation: u64,
    pub(super) contact: Contact,
}

/// Budget for requests to nodes that only other nodes named. A higher value spreads contacts faster
/// and lets neighbours direct more traffic of this node at strangers.
const RELAYS: Rate = Rate::new(20, 60);

/// The state that all topics share. A field of its own in `Topics`, so that it is borrowed beside
/// one of the topics.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) now: Instant,
    /// When the wall clock, corrected by the peers, was reported, and its value then; `None` before
    /// the first report.
    pub(super) wall: Option<(Instant, UnixMillis)>,
    pub(super) me: Me,
    pub(super) config: TopicsConfig,
    pub(super) mode: Mode,
    pub(super) rng: Rng,
    pub(super) pending: PendingRequests,
    pub(super) scores: Scores,
    pub(super) stats: TopicsStats,
    pub(super) out: VecDeque<TopicsOutput>,
    /// Budget for requests to nodes that only other nodes named.
    pub(super) relay_budget: TokenBucket,
    /// When any node was heard from last.
    pub(super) last_heard: Instant,
    /// Until then a silent neighbour is attributed to this node's own isolation.
    pub(super) isolated_until: Instant,
    /// Missing messages of all topics; while a topic is at work, of the other topics.
    pub(super) missing: usize,
}

impl Shared {
    pub(super) fn new(me: Me, config: TopicsConfig, rng: Rng) -> Self {
        Self {
            now: Instant::ZERO,
            wall: None,
            me,
            mode: config.mode,
            config,
            rng,
            pending: PendingRequests::default(),
            scores: Scores::new(),
            stats: TopicsStats::default(),
            out: VecDeque::new(),
            relay_budget: RELAYS.bucket(),
            last_heard: Instant::ZERO,
            isolated_until: Instant::ZERO,
            missing: 0,
        }
    }

    /// The wall clock now; `None` before it was reported.
    pub(super) fn wall(&self) -> Option<UnixMillis> {
        self.wall.map(|(at, wall)| wall.plus(self.now.since(at)))
    }

    /// Sends a request. If too many are under way, one that is not to a neighbour is not sent.
    pub(super) fn ask(
        &mut self,
        topic: TopicId,
        to: Contact,
        purpose: Purpose,
        body: TopicRequest,
    ) -> bool {
        let droppable = matches!(purpose, Purpose::NonNeighbour | Purpose::Probe);
        if droppable && self.pending.len() >= ASKS_MAX {
            self.stats.rate_limited += 1;
            return false;
        }
        // If a contact does not answer, others are tried; a neighbour gets one more try.
        let tries = if matches!(purpose, Purpose::Link | Purpose::NonNeighbour) { 2 } else { 3 };
        let ask = self.pending.add(PendingRequest { topic, to: to.public_key, purpose });
        let request = InTopic { topic, body };
        self.out.push_back(TopicsOutput::Ask { ask, to, request, tries });
        true
    }

    pub(super) fn answer(&mut self, serve: TopicServeId, answer: TopicResponse) {
        self.out.push_back(TopicsOutput::Answer { serve, answer });
    }

    /// How many missing messages the topic at work may have.
    pub(super) fn missing_room(&self) -> usize {
        self.config.missing_max.saturating_sub(self.missing)
    }

    /// The limits for other nodes in the current mode.
    pub(super) fn limits(&self) -> &PeerLimits {
        self.config.limits(self.mode)
    }

    /// Whether a link to `peer` is allowed at all.
    pub(super) fn welcomes(&self, peer: &PublicKey) -> bool {
        *peer != self.me.contact.public_key && !self.scores.ignores(self.now, peer)
    }
}

/// A random one of these keys.
pub(super) fn pick(rng: &mut Rng, keys: Vec<&PublicKey>) -> Option<PublicKey> {
    keys.get(rng.below(keys.len() as u64) as usize).map(|key| **key)
}
