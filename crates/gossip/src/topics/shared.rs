//! Requests under way, and what every topic needs to do its work.

use std::collections::{BTreeMap, VecDeque};

use potluck_base::{
    Contact, Identity, Instant, NetworkId, PublicKey, Rng, TokenBucket, UnixMillis,
};
use potluck_wire::{InTopic, TopicId, TopicRequest, TopicResponse};

use super::config::{PeerLimits, RateLimit, TopicsConfig};
use super::events::{TopicAskId, TopicServeId, TopicsOutput};
use super::scores::Scores;
use super::stats::TopicsStats;
use crate::message::MessageId;
use crate::view::Mode;

/// Requests under way at once. Those that matter are bounded by links; this bounds the rest.
const ASKS_MAX: usize = 8_192;

/// What a request was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A new link.
    Link,
    /// Whether a contact of the passive view lives.
    Probe,
    /// Whether a neighbour lives that did not answer.
    Check,
    /// Messages.
    Gossip(Vec<MessageId>),
    /// Names of fresh messages.
    IHave(Vec<MessageId>),
    /// Anything whose answer says nothing but that a neighbour lives.
    Notify,
    /// Anything for a node that need not be a neighbour.
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

/// Who this node is.
#[derive(Debug, Clone)]
pub(super) struct Me {
    pub(super) identity: Identity,
    pub(super) network: NetworkId,
    pub(super) incarnation: u64,
    pub(super) contact: Contact,
}

/// What every topic needs to do its work.
pub(super) struct Shared<'a> {
    pub(super) now: Instant,
    /// What the wall clock shows, as the peers correct it; none before it was told.
    pub(super) wall: Option<UnixMillis>,
    pub(super) me: &'a Me,
    pub(super) config: &'a TopicsConfig,
    pub(super) mode: Mode,
    pub(super) rng: &'a mut Rng,
    pub(super) pending: &'a mut PendingRequests,
    pub(super) scores: &'a mut Scores,
    pub(super) stats: &'a mut TopicsStats,
    pub(super) out: &'a mut VecDeque<TopicsOutput>,
    /// Requests to nodes that only others named.
    pub(super) relay_budget: &'a mut TokenBucket,
    /// When any node was heard last.
    pub(super) last_heard: Instant,
    /// Until then a silent neighbour is this node's own fault.
    pub(super) isolated_until: Instant,
    /// How many promises this topic may have.
    pub(super) missing_room: usize,
}

impl Shared<'_> {
    /// Asks something. False if too much is under way.
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
        // A candidate that does not answer has others behind it; a neighbour gets more patience.
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

    /// What is allowed to others now.
    pub(super) fn limits(&self) -> &PeerLimits {
        self.config.limits(self.mode)
    }

    /// Whether `peer` may be linked to at all.
    pub(super) fn welcomes(&self, peer: &PublicKey) -> bool {
        *peer != self.me.contact.public_key && !self.scores.ignores(self.now, peer)
    }
}

impl RateLimit {
    pub(super) fn bucket(self) -> TokenBucket {
        TokenBucket::new(self.per_second, self.burst)
    }
}
