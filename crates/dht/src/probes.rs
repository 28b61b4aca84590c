//! Heartbeats of the close group, checks of other contacts, and proofs of new contacts: all are pings.
//!
//! Any authenticated traffic counts as a heartbeat, so two nodes of one close group ping each other
//! once per interval, not twice.

use std::collections::BTreeMap;

use potluck_base::{BoundedQueue, Instant, NodeId, Peer};

use crate::event::QueryId;

/// New contacts queued to be pinged; further ones are dropped, because live nodes are heard again.
const PROOFS_WAITING_MAX: usize = 64;
/// Concurrent pings to new contacts.
const PROOFS_ACTIVE_MAX: usize = 16;

/// The purpose of a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// To see whether a contact of the table is alive.
    Check,
    /// To prove a newcomer before it enters the table.
    Proof,
    /// To enter the network.
    Entry,
}

/// One ping under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    pub(crate) peer: Peer,
    pub(crate) reason: Reason,
    pub(crate) sent: Instant,
}

/// Pings under way, and new contacts queued to be pinged.
#[derive(Debug, Clone)]
pub(crate) struct Probes {
    active: BTreeMap<QueryId, Probe>,
    waiting: BoundedQueue<Peer>,
}

impl Probes {
    pub(crate) const fn new() -> Self {
        Self { active: BTreeMap::new(), waiting: BoundedQueue::new(PROOFS_WAITING_MAX) }
    }

    pub(crate) fn sent(&mut self, query: QueryId, probe: Probe) {
        self.active.insert(query, probe);
    }

    pub(crate) fn take(&mut self, query: QueryId) -> Option<Probe> {
        self.active.remove(&query)
    }

    pub(crate) fn is_active(&self, id: &NodeId) -> bool {
        self.active.values().any(|probe| probe.peer.id == *id)
    }

    /// Queues a new contact, once.
    pub(crate) fn enqueue(&mut self, peer: Peer) {
        let known = self.waiting.iter().any(|waiting| waiting.id == peer.id);
        if !known && !self.is_active(&peer.id) {
            // Dropping it when the queue is full is no loss: a live node is heard again.
            let _ = self.waiting.push(peer);
        }
    }

    /// The next new contact to ping, if few enough pings to new contacts are under way.
    pub(crate) fn next_proof(&mut self) -> Option<Peer> {
        let proofs = self.active.values().filter(|probe| probe.reason == Reason::Proof).count();
        if proofs >= PROOFS_ACTIVE_MAX {
            return None;
        }
        self.waiting.pop()
    }
}
