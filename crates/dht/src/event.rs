//! The events of the DHT, the actions that it requests, and the ids that both carry.

use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{Contact, Key, NodeId, Peer, PublicKey};
use potluck_wire::Want;

use crate::entry_points::EntryPoint;
use crate::lookup::LookupId;
use crate::routing_table::CloseGroupChange;
use crate::trace::LookupTrace;

/// Identifies a request to the node machine, which sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// The content of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A ping.
    Ping,
    /// Nodes close to a target, and perhaps the record there.
    Find {
        /// The lookup that it belongs to.
        lookup: LookupId,
        /// The target.
        target: Key,
        /// Contacts wanted.
        count: u8,
        /// The part of the record that the answer should carry.
        want: Want,
        /// Whether the second part of the answer is wanted, and not the first.
        second: bool,
    },
}

/// An event for the DHT.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// An entry point, which is tried until the node leaves.
    Join(EntryPoint),
    /// Contacts of the last run.
    Remembered(Vec<Contact>),
    /// A DNS name, `name:port`, to be asked while all entry points are silent.
    LastResort(String),
    /// Start a lookup for nodes close to `target`.
    Lookup {
        /// Its name, chosen by the caller; ids from 2^63 on are the DHT's own.
        id: LookupId,
        /// The target.
        target: Key,
        /// The part of the record at the target that answers should carry.
        want: Want,
        /// The number of closest nodes that must answer.
        goal: usize,
        /// The reason, for traces.
        why: &'static str,
        /// Whether each of the closest nodes is waited for until it has answered or failed. If not, the
        /// lookup may end without the slow ones, which the result then names.
        waits: bool,
        /// Whether it repeats a lookup that found nothing, or answers that disagreed: it takes more paths.
        doubt: bool,
    },
    /// The requester of this lookup needs no further answers.
    Stop(LookupId),
    /// A request was answered.
    Answered {
        /// The request.
        query: QueryId,
        /// The answering node, authenticated by the link.
        from: Contact,
        /// The contacts in the answer.
        contacts: Vec<Contact>,
        /// The round-trip time.
        rtt: Duration,
    },
    /// A request got no answer after all its tries.
    Failed(QueryId),
    /// A request could not be sent because this node is too busy. It says nothing about the other node.
    Unsent(QueryId),
    /// Authenticated traffic arrived that is not an answer to a request.
    Heard(Contact),
    /// A node announced that it leaves.
    Left(PublicKey),
    /// A node answered a hello at an address.
    Greeted {
        /// The address.
        address: SocketAddr,
        /// The node.
        contact: Contact,
    },
    /// A node may be at this address of the local network.
    Candidate(SocketAddr),
    /// A name was resolved; no address means that it does not resolve.
    Resolved {
        /// The name.
        name: String,
        /// Its addresses, in groups: a later group is asked only if no address of an earlier one
        /// answers.
        addresses: Vec<Vec<SocketAddr>>,
    },
    /// A request by another part of the node to this peer got no answer: check it soon.
    Unanswered(NodeId),
    /// The failure detector suspects this node: leave it out of answers and lookups until it is heard.
    Suspected(NodeId),
    /// The machine slept, or its address changed: check all contacts.
    Resumed,
    /// The deadline of [`Machine::poll_timeout`] came.
    Timeout,
}

/// An action that the DHT requests.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send a request to a node.
    Query {
        /// Returned with the answer.
        query: QueryId,
        /// The node.
        to: Contact,
        /// The request.
        purpose: Purpose,
        /// The number of tries.
        tries: u8,
    },
    /// Ask the node at an address for its key.
    Hello(SocketAddr),
    /// The same with a single datagram, for an address that only unauthenticated local traffic named.
    Ask(SocketAddr),
    /// Resolve a DNS name.
    Resolve(String),
    /// All entry points are silent: the last resort is used from now on, until one of them answers.
    LastResort,
    /// A lookup ended.
    Finished {
        /// The lookup.
        lookup: LookupId,
        /// The nodes that answered, closest first; they may be more than the goal.
        closest: Vec<Peer>,
        /// Those of the closest known nodes whose answers were not waited for.
        late: Vec<Peer>,
        /// Its trace.
        trace: LookupTrace,
    },
    /// A lookup was not started: too many are under way.
    Refused(LookupId),
    /// The close group changed.
    CloseGroup(CloseGroupChange),
    /// Contacts to remember for a warm restart.
    Save(Vec<Contact>),
    /// The network was joined and the node's own id looked up.
    Joined,
}
