//! What the node waits for: answers to its own requests, answers that it owes to other nodes, and the
//! results of operations that it started in its parts.
//!
//! Each wait is an entry of one of four maps, and the entry says which part gets the result. All numbers
//! come from one counter, so no two operations share one.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{BlobId, Contact, Instant, PublicKey};
use potluck_dht::{LookupId, QueryId};
use potluck_gossip::{members, search, topics};
use potluck_kv::CommandId;
use potluck_link::{ReplyTo, RequestError, RequestOptions, RequestToken};
use potluck_swarm::FetchId;
use potluck_wire::limits::CALL_BYTES_MAX;
use potluck_wire::{Request, TopicId, encode_request};

use super::Node;
use crate::input::{CallId, InboundId};

/// Concurrent outgoing calls; further ones fail as busy. Raising it costs memory and connections.
const CALLS_MAX: usize = 512;

/// The part of the node that waits for the answer to a request, with its own number of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    Dht {
        query: QueryId,
        lookup: Option<LookupId>,
    },
    Kv(potluck_kv::AskId),
    Swarm(potluck_swarm::AskId),
    Members(members::AskId),
    Topics(topics::TopicAskId),
    Search(search::AskId),
    /// A ping that finds the address for a call: the call goes to the address that answers.
    PathProbe(CallId),
    /// A ping that introduces this node to the peer, for a command.
    Introduction {
        id: CommandId,
        rounds: u8,
    },
    /// A request for a new certificate.
    Renewal,
    /// No part waits: the request only informs the peer.
    Notice,
    /// A notice that this node stops for a moment: the command that gave it waits.
    Pause,
}

/// How a request travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// In a datagram; a request that does not fit is not sent.
    Datagram(RequestOptions),
    /// In a datagram if the request fits, else in a call.
    DatagramOrCall(RequestOptions),
    /// In a call, because the answer may be long.
    Call,
}

/// Why a request was not sent. Nothing changed, and no answer will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsent {
    /// The key of the peer is no key.
    BadKey,
    /// Too many requests or calls are under way, or the request is too long.
    Busy,
}

/// The path on which another node's request is answered: the one on which it came.
#[derive(Debug)]
pub(super) enum ReplyPath {
    Datagram(ReplyTo),
    Call(InboundId),
}

/// The requester of an operation in one of the node's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// A command of the host, answered under this id.
    Host(CommandId),
    /// The search for providers of a blob.
    Providers(ProviderSearch),
    /// The announcement of this node as a provider.
    ProviderAnnouncement(BlobId),
    /// The search for members of a topic.
    TopicMembers(TopicId),
    /// The announcement of this node as a member of a topic.
    TopicAnnouncement,
    /// The announcement of members over the system topic.
    MemberAnnouncement,
}

/// A search for providers of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProviderSearch {
    pub(super) fetch: FetchId,
    pub(super) stage: SearchStage,
}

/// How far a search for providers is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SearchStage {
    /// The record of the blob itself is read.
    Blob,
    /// The record of nodes that share more files than they announce is read, because the first record
    /// named no provider.
    ManyFiles {
        /// Whether the first record surely does not exist.
        absent: bool,
    },
}

/// A request that went out in a datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct SentRequest {
    pub(super) asker: Asker,
    /// The time of the first transmission.
    sent: Instant,
}

impl SentRequest {
    /// The time from the first transmission to `now`, lost tries included.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.since(self.sent)
    }
}

#[derive(Debug)]
struct PendingCall {
    asker: Asker,
    to: Contact,
    /// The request, while a ping looks for an address that answers.
    without_path: Option<Bytes>,
}

/// All that the node waits for.
#[derive(Debug, Default)]
pub(super) struct Pending {
    requests: BTreeMap<RequestToken, SentRequest>,
    calls: BTreeMap<CallId, PendingCall>,
    serves: BTreeMap<u64, ReplyPath>,
    operations: BTreeMap<u64, Owner>,
    last_number: u64,
    /// Requests that were not sent because too many were under way.
    busy: u64,
}

impl Pending {
    /// A number that no request, call or operation of this node had before.
    pub(super) fn fresh_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(super) const fn busy(&self) -> u64 {
        self.busy
    }

    /// Ends the wait for the answer to a datagram.
    pub(super) fn take_request(&mut self, token: RequestToken) -> Option<SentRequest> {
        self.requests.remove(&token)
    }

    /// Ends the wait for the answer to a call.
    pub(super) fn take_call(&mut self, call: CallId) -> Option<(Asker, Contact)> {
        self.calls.remove(&call).map(|pending| (pending.asker, pending.to))
    }

    /// The calls to the peer with this key.
    pub(super) fn calls_to(&self, key: &PublicKey) -> Vec<CallId> {
        let to_peer = self.calls.iter().filter(|(_, call)| call.to.public_key == *key);
        to_peer.map(|(id, _)| *id).collect()
    }

    /// Keeps the bytes of a call until its path is found.
    pub(super) fn hold_call(&mut self, call: CallId, bytes: Bytes) {
        if let Some(pending) = self.calls.get_mut(&call) {
            pending.without_path = Some(bytes);
        }
    }

    /// The receiver and the bytes of a call whose path was looked for, if it still waits.
    pub(super) fn release_call(&mut self, call: CallId) -> Option<(Contact, Bytes)> {
        let pending = self.calls.get_mut(&call)?;
        Some((pending.to, pending.without_path.take()?))
    }

    /// Notes a request of another node; the number is the name of the request within this node.
    pub(super) fn serve(&mut self, reply_path: ReplyPath) -> u64 {
        let number = self.fresh_number();
        self.serves.insert(number, reply_path);
        number
    }

    /// Ends the wait for the answer to another node's request.
    pub(super) fn take_serve(&mut self, number: u64) -> Option<ReplyPath> {
        self.serves.remove(&number)
    }

    /// Notes an operation in a part of this node; its result goes to `owner`.
    pub(super) fn begin(&mut self, owner: Owner) -> u64 {
        let number = self.fresh_number();
        self.operations.insert(number, owner);
        number
    }

    /// Ends an operation.
    pub(super) fn finish(&mut self, number: u64) -> Option<Owner> {
        self.operations.remove(&number)
    }

    /// The command of the host that waits for an operation, which ends.
    pub(super) fn finish_for_host(&mut self, number: u64) -> Option<CommandId> {
        match self.operations.remove(&number)? {
            Owner::Host(id) => Some(id),
            Owner::Providers(_)
            | Owner::ProviderAnnouncement(_)
            | Owner::TopicMembers(_)
            | Owner::TopicAnnouncement
            | Owner::MemberAnnouncement => None,
        }
    }
}

impl Node {
    /// Sends a request; the answer or the failure goes to `asker`.
    ///
    /// # Errors
    /// [`Unsent`]: nothing was sent, and `asker` hears nothing more.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        asker: Asker,
        to: Contact,
        request: &Request,
        delivery: Delivery,
    ) -> Result<(), Unsent> {
        let options = match delivery {
            Delivery::Datagram(options) | Delivery::DatagramOrCall(options) => options,
            Delivery::Call => return self.call(now, asker, to, request),
        };
        match self.link.request(now, to, request, options) {
            Ok(token) => {
                self.pending.requests.insert(token, SentRequest { asker, sent: now });
                Ok(())
            }
            Err(RequestError::TooLarge) if matches!(delivery, Delivery::DatagramOrCall(_)) => {
                self.call(now, asker, to, request)
            }
            Err(RequestError::BadKey) => Err(Unsent::BadKey),
            Err(RequestError::TooLarge | RequestError::Busy) => {
                self.pending.busy += 1;
                Err(Unsent::Busy)
            }
        }
    }

    fn call(
        &mut self,
        now: Instant,
        asker: Asker,
        to: Contact,
        request: &Request,
    ) -> Result<(), Unsent> {
        let bytes = encode_request(request);
        if self.pending.calls.len() >= CALLS_MAX || bytes.len() > CALL_BYTES_MAX {
            self.pending.busy += 1;
            return Err(Unsent::Busy);
        }
        let id = CallId(self.pending.fresh_number());
        self.pending.calls.insert(id, PendingCall { asker, to, without_path: None });
        self.place_call(now, id, to, bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(number: u8) -> Contact {
        Contact::new(PublicKey::from_bytes([number; 32]), ([127, 0, 0, 1], 7).into())
    }

    #[test]
    fn each_wait_ends_once_and_no_two_share_a_number() {
        let mut pending = Pending::default();
        let serve = pending.serve(ReplyPath::Call(InboundId(7)));
        let host = pending.begin(Owner::Host(CommandId(9)));
        let own = pending.begin(Owner::MemberAnnouncement);
        assert_eq!(BTreeMap::from([(serve, ()), (host, ()), (own, ())]).len(), 3);
        assert!(pending.take_serve(host).is_none(), "an operation is no request of another node");
        assert!(pending.take_serve(serve).is_some() && pending.take_serve(serve).is_none());
        assert_eq!(pending.finish_for_host(host), Some(CommandId(9)));
        assert_eq!(pending.finish_for_host(host), None);
        assert_eq!(pending.finish_for_host(own), None, "the host did not ask for it");
        assert_eq!(pending.finish(own), None, "it is over all the same");
    }

    #[test]
    fn a_call_without_a_path_is_placed_once_and_never_after_its_end() {
        let mut pending = Pending::default();
        let (one, two) = (CallId(1), CallId(2));
        for (id, number) in [(one, 1), (two, 2)] {
            let call =
                PendingCall { asker: Asker::Notice, to: contact(number), without_path: None };
            pending.calls.insert(id, call);
        }
        assert_eq!(pending.release_call(one), None, "its path is not looked for");
        pending.hold_call(one, Bytes::from_static(b"one"));
        pending.hold_call(two, Bytes::from_static(b"two"));
        assert_eq!(pending.release_call(one), Some((contact(1), Bytes::from_static(b"one"))));
        assert_eq!(pending.release_call(one), None);
        assert_eq!(pending.calls_to(&contact(2).public_key), [two]);
        assert_eq!(pending.take_call(two), Some((Asker::Notice, contact(2))));
        assert_eq!(pending.release_call(two), None, "its peer is gone");
        assert_eq!(pending.take_call(two), None);
    }
}
