//! The actions that a node requests of its shell.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Peer, PublicKey, UnixMillis};
use potluck_record::{OpId, StorageOp};

use potluck_wire::Enroll;

use crate::command::{CommandId, Reply};
use crate::input::{CallId, EnrolmentId, InboundId};
use crate::view::OwnAddress;

/// An output of the node machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send a control datagram. May get lost.
    Transmit {
        /// To this address.
        to: SocketAddr,
        /// The bytes.
        bytes: Bytes,
    },
    /// Carry out a storage operation; answer with `Input::Stored` when it is durable.
    Storage {
        /// Returned with the answer.
        id: OpId,
        /// The operation.
        op: StorageOp,
    },
    /// Call a node over QUIC; answer with `Input::Answered` or `Input::CallFailed`.
    Call {
        /// Returned with the answer.
        id: CallId,
        /// The node; the transport authenticates its key.
        to: Contact,
        /// The request, at most 256 KiB.
        bytes: Bytes,
    },
    /// Answer an incoming call.
    AnswerCall {
        /// The call.
        inbound: InboundId,
        /// The answer, at most 256 KiB.
        bytes: Bytes,
    },
    /// Refuse an incoming call of a peer whose budget is used up. The answer is to be held back: until
    /// then the call counts against the calls that the peer may have under way, so that the peer sends
    /// no faster than it is refused. The bytes of the request are of no use any more.
    RefuseCall {
        /// The call.
        inbound: InboundId,
        /// The answer.
        bytes: Bytes,
        /// For how long it is held back.
        after: Duration,
    },
    /// This peer sent several requests with bad signatures: end its connections, and take none from it
    /// for this long. Its datagrams are dropped here meanwhile.
    Ignore {
        /// The peer's public key, proven by its requests.
        public_key: PublicKey,
        /// For how long.
        time: Duration,
    },
    /// Resolve a DNS name `name:port`; answer with `Input::Resolved`.
    Resolve {
        /// The name.
        name: String,
    },
    /// Others are told these addresses of this node from now on, the preferred one first.
    Addresses {
        /// At least one.
        addresses: Vec<OwnAddress>,
    },
    /// Remember these contacts for the next run. Losing them loses nothing but speed.
    SaveContacts {
        /// The contacts.
        contacts: Vec<Contact>,
    },
    /// A command is answered.
    Reply {
        /// The command.
        id: CommandId,
        /// The reply.
        reply: Reply,
    },
    /// In an `invite` or `open` network: this peer is admitted, and surely is at that address.
    Admitted {
        /// The peer's public key.
        public_key: PublicKey,
        /// The address.
        address: SocketAddr,
        /// When its certificate expires.
        until: UnixMillis,
    },
    /// This peer is not admitted any more: end everything with it.
    Expelled {
        /// The peer's public key.
        public_key: PublicKey,
    },
    /// A node requests a certificate; answer with `Input::Enrolled`.
    Enroll {
        /// Returned with the answer.
        id: EnrolmentId,
        /// Who, proven by the link.
        from: PublicKey,
        /// By what right; not checked for good yet.
        enroll: Enroll,
    },
    /// The authority's node signed this new certificate, so it says: check it, keep it, and tell
    /// with `Input::Certificate`.
    Renewed {
        /// The bytes.
        certificate: Bytes,
    },
    /// These are all revocations that hold: keep them for the next run.
    SaveRevocations {
        /// Signed bytes.
        revocations: Vec<Bytes>,
    },
    /// These settings of the network are in force: keep them for the next run.
    SaveSettings {
        /// Signed bytes.
        settings: Bytes,
    },
    /// Something concerning files: a place, a stream, the end of a fetch. Only those outputs of the
    /// swarm come here that are for the shell.
    Swarm(potluck_swarm::Output),
    /// Look for shared names that all these words fit; answer with one
    /// [`Input::NamesFound`](crate::Input::NamesFound).
    LookForNames {
        /// For which search.
        query: potluck_wire::search::QueryId,
        /// The words.
        words: Vec<String>,
        /// The largest number of names.
        max: usize,
    },
    /// A message of a topic that is subscribed to.
    Message(potluck_gossip::Message),
    /// Messages of a subscribed topic are lost: no other node has them any more.
    Missed {
        /// The topic.
        topic: potluck_gossip::TopicName,
        /// How many.
        missed: u64,
    },
    /// A watched record has other values.
    Changed(potluck_kv::Change),
    /// A watch has ended: the watched records take more memory than they may.
    WatchEnded(potluck_base::Key),
    /// Something happened that people may want to know.
    Event(Event),
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The network has been entered and the own neighbourhood looked up.
    Joined,
    /// A node entered the circle of this node's siblings.
    SiblingJoined(Peer),
    /// A node left the circle of this node's siblings: gone, or closer ones came.
    SiblingLeft(Peer),
    /// Something happened to a member.
    Member(potluck_gossip::MemberEvent),
    /// A neighbour of the overlay of all nodes came.
    NeighbourUp(Peer),
    /// A neighbour of the overlay of all nodes went.
    NeighbourDown(Peer, potluck_gossip::Cause),
    /// Half of the neighbours vanished at once, or the machine slept, so the fault must be here: no
    /// verdicts until others are heard.
    Isolated,
    /// Others are heard again.
    Reunited,
    /// Another machine runs with this node's identity: this node writes and publishes nothing any
    /// more.
    IdentityElsewhere,
    /// All entry points are silent: the names of the last resort are asked.
    LastResort,
}
