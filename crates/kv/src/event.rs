//! What goes into the store and what comes out of it: the vocabulary between [`Kv`](crate::Kv) and the
//! code that drives it.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Key, NodeId, Peer, PublicKey, UnixMillis};
use potluck_record::{EnvelopeId, OpId, StorageOp, StorageReply};
use potluck_wire::{Contacts, RecordAnswer, Request, Response, Revoked, Want};

use crate::change::Change;
use crate::command::{Command, CommandId, Reply};

/// An event for the store.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The application issues a command.
    Command {
        /// Returned in the reply.
        id: CommandId,
        /// The command.
        command: Command,
    },
    /// A node answered a lookup.
    Found {
        /// The lookup.
        lookup: LookupId,
        /// The node.
        from: Peer,
        /// Its answer about the record; `None` if it gave none.
        record: Option<RecordAnswer>,
    },
    /// A lookup was not started: too many are under way.
    LookupRefused(LookupId),
    /// A lookup ended.
    LookupDone {
        /// The lookup.
        lookup: LookupId,
        /// The closest nodes that answered, closest first.
        closest: Vec<Peer>,
        /// Those of the closest known nodes that were not waited for, closest first.
        late: Vec<Peer>,
    },
    /// Another node answered a request.
    Answered {
        /// The request.
        ask: AskId,
        /// The answer.
        response: Response,
    },
    /// A request got no answer.
    Failed {
        /// The request.
        ask: AskId,
    },
    /// A storage operation was carried out.
    Stored {
        /// The operation.
        id: OpId,
        /// Its result.
        reply: StorageReply,
    },
    /// Another node sent a request.
    PeerRequest {
        /// Returned in the response.
        serve: ServeId,
        /// The request.
        request: PeerRequest,
    },
    /// The close group changed; this is the new one, without this node.
    CloseGroup(Vec<Peer>),
    /// This node came, came back or was started anew.
    PeerUp(Peer),
    /// This node is dead or has left.
    PeerDown(NodeId),
    /// The number of known members changed; this node is included.
    Members(usize),
    /// The wall clock was read.
    WallClock {
        /// The time, corrected by the peers' clocks.
        now: UnixMillis,
        /// The correction in milliseconds.
        offset: i64,
    },
    /// Writers must have certificates of this authority from now on.
    Authority(PublicKey),
    /// This node's certificate from now on.
    Certificate(Bytes),
    /// A member's certificate, whose signature was checked.
    MemberCertificate {
        /// The member.
        member: PublicKey,
        /// The signed bytes.
        certificate: Bytes,
    },
    /// A member showed its certificate to this node.
    Shown {
        /// The member.
        member: PublicKey,
        /// The ticket that let it in; `None` if the authority did without one.
        ticket: Option<PublicKey>,
    },
    /// A member, or all that a ticket let in, is out.
    Revoked(Revoked),
    /// What the settings of the network ask for from now on.
    Settings(Settings),
    /// Another part of the node found that its identity also runs elsewhere: write nothing.
    Elsewhere,
    /// A node of the close group stops and will be back within this time.
    Pauses {
        /// The node.
        node: NodeId,
        /// The time.
        time: Duration,
    },
    /// Hand records over; ends with [`Output::HandedOver`].
    Leave,
    /// The deadline of [`Machine::poll_timeout`](potluck_base::Machine::poll_timeout) came.
    Timeout,
}

/// The parameters that a running node can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// See [`Config::replication`](crate::Config::replication).
    pub replication: u16,
    /// See [`Config::life_default`](crate::Config::life_default).
    pub life_default: Duration,
    /// See [`Config::republish_interval`](crate::Config::republish_interval).
    pub republish_interval: Option<Duration>,
}

/// An action that the store requests.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Look up the nodes closest to a key, and ask them about the record.
    Lookup {
        /// Returned in the answers.
        id: LookupId,
        /// The key.
        target: Key,
        /// The part of the record that the answers carry.
        want: Want,
        /// The number of closest nodes that must answer.
        goal: usize,
        /// The reason, for traces.
        why: &'static str,
        /// Whether each of the closest nodes is waited for until it has answered or failed.
        waits: bool,
        /// Whether it repeats a lookup whose answers are doubted, so that it takes more disjoint paths.
        doubt: bool,
    },
    /// End a lookup that is not needed any more.
    StopLookup(LookupId),
    /// Send a request to another node.
    Ask {
        /// Returned with the answer.
        id: AskId,
        /// The node.
        to: Peer,
        /// The request.
        request: Request,
        /// How to send it.
        delivery: Delivery,
    },
    /// Carry out a storage operation.
    Storage {
        /// Returned with the result.
        id: OpId,
        /// The operation.
        op: StorageOp,
    },
    /// Answer another node's request.
    Respond {
        /// The request.
        serve: ServeId,
        /// The answer.
        response: Response,
    },
    /// Signatures of a peer's request were checked: the peer pays for them.
    Checked {
        /// The peer.
        peer: PublicKey,
        /// How many.
        signatures: u32,
        /// Whether one of them was bad, which ended the request.
        bad: bool,
    },
    /// Reply to a command.
    Reply {
        /// The command.
        id: CommandId,
        /// The reply.
        reply: Reply,
    },
    /// Another machine writes under this node's key; this node writes nothing any more. Sent once.
    Foreign(ForeignWrite),
    /// A watched key has other values.
    Changed(Change),
    /// A watch has ended: the watched records take more memory than they may.
    WatchEnded(Key),
    /// The hand-over of a leaving node is over.
    HandedOver {
        /// Keys that other nodes pulled.
        keys: u64,
    },
}

/// A request of another node, as the node machine hands it over.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerRequest {
    /// The requesting node.
    pub from: Peer,
    /// The request.
    pub request: Request,
    /// Contacts for the answer, if the request belongs to a lookup.
    pub contacts: Contacts,
    /// Whether the requester's address is proven: only then may it store.
    pub proven: bool,
    /// Most bytes of the answer.
    pub budget: usize,
}

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// In a datagram if it fits, else in a call over QUIC.
    Fitting,
    /// In a call over QUIC, because the answer may be large.
    Call,
}

/// An envelope under this node's own key that this process did not sign: another machine runs with
/// its identity, or an older copy of its data folder was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignWrite {
    /// The key it was written under.
    pub key: Key,
    /// The envelope's id.
    pub held: EnvelopeId,
}

/// Identifies a lookup that this store requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub u64);

/// Identifies a request to another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Identifies a request of another node; chosen by the node machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServeId(pub u64);
