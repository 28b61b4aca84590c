//! Requests under way.

use std::collections::BTreeMap;

use potluck_base::PublicKey;
use potluck_wire::TopicId;

use super::events::TopicAskId;
use crate::message::MessageId;

/// Requests under way at once. Those to neighbours are bounded by the links; this bounds the
/// others.
pub(super) const ASKS_MAX: usize = 8_192;

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

    /// Adds a request.
    pub(super) fn add(&mut self, request: PendingRequest) -> TopicAskId {
        self.next += 1;
        let ask = TopicAskId(self.next);
        self.open.insert(ask, request);
        ask
    }

    pub(super) fn take(&mut self, ask: TopicAskId) -> Option<PendingRequest> {
        self.open.remove(&ask)
    }
}
