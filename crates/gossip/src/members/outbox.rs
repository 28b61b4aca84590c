//! Requests with their purposes, answers and events that the machine emits.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use potluck_base::{Contact, PublicKey};
use potluck_wire::{MemberRequest, Response};

use super::event::{AskId, Output, ServeId};

/// Requests under way at once. A higher value lets a node probe and reconcile more in parallel.
const ASKS_MAX: usize = 256;

/// The purpose of a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Purpose {
    /// The first tries of a probe.
    Probe(PublicKey),
    /// A further try, while helpers probe as well.
    Reprobe(PublicKey),
    /// A ping-req: a helper probes the subject for this node.
    PingReq { subject: PublicKey, nonce: u64 },
    /// This node probes a member for another node.
    Prove { serve: ServeId },
    /// A page of the member list, after this key.
    Page(Contact, PublicKey),
    /// A comparison of digests; `whole` allows an answer longer than a datagram.
    Compare { with: Contact, whole: bool },
    /// Records that differ.
    Load(Contact),
    /// A suspect message; the answer tells whether the receiver suspects the member as well.
    Suspect(PublicKey),
    /// The answer does not matter.
    Notify,
}

/// How to send a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct AskOptions {
    /// Number of tries.
    pub(super) tries: u8,
    /// Time that the other node may take, beyond the round trip.
    pub(super) patience: Duration,
    /// Whether the answer may be longer than a datagram.
    pub(super) large: bool,
}

impl AskOptions {
    /// This number of tries, without extra time, in datagrams.
    pub(super) const fn tries(tries: u8) -> Self {
        Self { tries, patience: Duration::ZERO, large: false }
    }
}

/// The outputs that wait for the caller, and the requests that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Output>,
    asks: BTreeMap<AskId, Purpose>,
    next_ask: u64,
}

impl Outbox {
    pub(super) fn push(&mut self, output: Output) {
        self.queue.push_back(output);
    }

    /// The next output for the caller.
    pub(super) fn pop(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }

    /// Answers a request.
    pub(super) fn answer(&mut self, serve: ServeId, response: Response) {
        self.push(Output::Answer { serve, response });
    }

    /// Sends a request; `None` if too many are under way.
    pub(super) fn ask(
        &mut self,
        to: Contact,
        request: MemberRequest,
        purpose: Purpose,
        options: AskOptions,
    ) -> Option<AskId> {
        if self.asks.len() >= ASKS_MAX {
            return None;
        }
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        self.asks.insert(ask, purpose);
        let AskOptions { tries, patience, large } = options;
        self.push(Output::Ask { ask, to, request, tries, patience, large });
        Some(ask)
    }

    /// A request came to an end: its purpose.
    pub(super) fn take(&mut self, ask: AskId) -> Option<Purpose> {
        self.asks.remove(&ask)
    }

    /// Requests under way.
    pub(super) fn asks(&self) -> usize {
        self.asks.len()
    }

    /// The requests under way.
    #[cfg(test)]
    pub(super) fn open(&self) -> Vec<AskId> {
        self.asks.keys().copied().collect()
    }
}
