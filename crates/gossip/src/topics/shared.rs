//! Requests under way, and the state that all topics share.

use std::collections::{BTreeMap, VecDeque};

use potluck_base::{
    Contact, Identity, Instant, NetworkId, PublicKey, Rng, TokenBucket, UnixMillis,
};
use potluck_wire::{InTopic, TopicId, TopicRequest, TopicResponse};

use super::config::{PeerLimits, TopicsConfig};
use super::events::{TopicAskId, TopicServeId, TopicsOutput};
use super::scores::Scores;
use super::stats::TopicsStats;
use crate::message::MessageId;
use crate::view::Mode;

/// Requests under way at once. Those to neighbours are bounded by the links; this bounds the
/// others.
const ASKS_MAX: usize = 8_192;

/// The purpose of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A new link.
    Link,
    /// Whether a contact of the passive view is alive.
    Probe,
    /// Whether a neighbour that did not answer is alive.
    Check,
    /// An eager push of these messages.
    Gossip(Vec<MessageId>),
    /// An announcement of these new messages.
    IHave(Vec<MessageId>),
    /// A request whose answer only shows that a neighbour is alive.
    Notify,
    /// A request to a node that need not be a neighbour.
    NonNeighbour,
}

/// A request under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PendingRequest {
    pub(super) topic: TopicId,
    pub(super) to: PublicKey,
    pub(super) purpose: Purpose,
}

/// All requests under way.
#[derive(Debug, Clone, Default)]
pub(super) struct PendingRequests {
    open: BTreeMap<TopicAskId, PendingRequest>,
    next: u64,
}

impl PendingRequests {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn take(&mut self, ask: TopicAskId) -> Option<PendingRequest> {
        self.open.remove(&ask)
    }
}

/// This node.
#[derive(Debug, Clone)]
pub(super) struct Me {
    pub(super) identity: Identity,
    pub(super) network: NetworkId,
    pub(super) incarnation: u64,
    pub(super) contact: Contact,
}

/// The state that all topics share.
pub(super) struct Shared<'a> {
    pub(super) now: Instant,
    /// The wall clock, corrected by the peers; `None` before it was reported.
    pub(super) wall: Option<UnixMillis>,
    pub(super) me: &'a Me,
    pub(super) config: &'a TopicsConfig,
    pub(super) mode: Mode,
    pub(super) rng: &'a mut Rng,
    pub(super) pending: &'a mut PendingRequests,
    pub(super) scores: &'a mut Scores,
    pub(super) stats: &'a mut TopicsStats,
    pub(super) out: &'a mut VecDeque<TopicsOutput>,
    /// Budget for requests to nodes that only other nodes named.
    pub(super) relay_budget: &'a mut TokenBucket,
    /// When any node was heard from last.
    pub(super) last_heard: Instant,
    /// Until then a silent neighbour is attributed to this node's own isolation.
    pub(super) isolated_until: Instant,
    /// How many more missing messages this topic may have.
    pub(super) missing_room: usize,
}

impl Shared<'_> {
    /// Sends a request. False if too many are under way.
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
        self.pending.next += 1;
        let ask = TopicAskId(self.pending.next);
        self.pending.open.insert(ask, PendingRequest { topic, to: to.public_key, purpose });
        let request = InTopic { topic, body };
        self.out.push_back(TopicsOutput::Ask { ask, to, request, tries });
        true
    }

    pub(super) fn answer(&mut self, serve: TopicServeId, answer: TopicResponse) {
        self.out.push_back(TopicsOutput::Answer { serve, answer });
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
