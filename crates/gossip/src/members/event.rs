//! Inputs and outputs of the members machine.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, LocalAddress, PublicKey, UnixMillis};
use potluck_wire::{MemberRequest, RecordVersion, Response, Revocation};

use crate::view::{MemberEvent, Mode};

/// Identifies a request of this node, for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// Identifies a request of another node, chosen by the caller of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServeId(pub u64);

/// What can happen to the machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Authenticated traffic from a proved address.
    Heard(Contact),
    /// A node answered a request of this node and thereby proved its address; it may be unknown.
    Proved(Contact),
    /// A request of another node.
    Asked {
        /// Identifies the request in the answer.
        serve: ServeId,
        /// The requester.
        from: Contact,
        /// The request.
        request: MemberRequest,
        /// Longest answer in bytes.
        budget: usize,
    },
    /// A request was answered.
    Answered {
        /// The request.
        ask: AskId,
        /// The answer.
        response: Response,
        /// The round-trip time, if it is known.
        rtt: Option<Duration>,
    },
    /// A request got no answer.
    Failed {
        /// The request.
        ask: AskId,
    },
    /// A request could not be sent: this node is too busy.
    Unsent {
        /// The request.
        ask: AskId,
    },
    /// A member published an announcement to all members.
    Announced {
        /// The publisher.
        from: PublicKey,
        /// An encoded [`potluck_wire::Announcement`].
        payload: Bytes,
    },
    /// The links of the overlay of all nodes.
    Neighbours(Vec<Contact>),
    /// The nodes closest to this one in the DHT.
    CloseGroup(Vec<Contact>),
    /// Another part of this node got no answer from a member: probe it soon.
    Unanswered(PublicKey),
    /// Estimated number of nodes in the network.
    NetworkSize(u64),
    /// The network's authority expelled a member, or all members that a ticket admitted.
    Revoked {
        /// The revocation.
        revocation: Revocation,
        /// Its signed bytes, to be passed on.
        bytes: Bytes,
        /// Whether to announce it to all members now; if not, only to new neighbours.
        spread: bool,
    },
    /// The settings of the network that this node runs from now on, checked.
    Settings {
        /// Their sequence.
        sequence: u64,
        /// Their signed bytes, to be passed on.
        bytes: Bytes,
        /// The interval of probes under them.
        interval: Duration,
        /// Whether to announce them to all members now; if not, only to nodes that lack them.
        spread: bool,
    },
    /// The certificate that this node's record carries.
    Certificate(Bytes),
    /// The wall clock.
    WallClock(UnixMillis),
    /// The machine slept and resumed.
    Resumed,
    /// The addresses at which others reach this node now.
    Addresses {
        /// At least one, the preferred one first.
        ways: Vec<SocketAddr>,
        /// The addresses of its interfaces, which tell which peers are near.
        local: Vec<LocalAddress>,
    },
    /// This node leaves.
    Leave,
    /// The announced deadline came.
    Timeout,
}

/// This node's judgement of a member, on which the other parts of the node act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is alive, or alive again.
    Alive,
    /// It does not answer.
    Suspect,
    /// It is dead.
    Dead,
    /// It has left.
    Left,
}

/// What the machine asks its caller to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Sends a request.
    Ask {
        /// Identifies the request in its answer.
        ask: AskId,
        /// The node to ask.
        to: Contact,
        /// The request.
        request: MemberRequest,
        /// Number of tries.
        tries: u8,
        /// Time that the other node may take, beyond the round trip.
        patience: Duration,
        /// Whether the answer may be longer than a datagram, so that a call is needed.
        large: bool,
    },
    /// Answers a request.
    Answer {
        /// The request.
        serve: ServeId,
        /// The answer.
        response: Response,
    },
    /// Announces to all members: an encoded [`potluck_wire::Announcement`].
    Announce(Bytes),
    /// This node's judgement of a member changed.
    Verdict(Contact, Verdict),
    /// A member did not answer the first tries of a probe. It is not suspected yet, but messages
    /// queued for it may take another path.
    Silent(PublicKey),
    /// A living member was started anew: it has forgotten what it had only in memory.
    Restarted(Contact),
    /// A change of a member, for the application.
    Event(MemberEvent),
    /// Half of the probed members vanished at once, so this node must be isolated: it judges no member, and
    /// joins the network again.
    Isolated,
    /// Other nodes are heard from again.
    Reunited,
    /// Members to which overlay links can be made.
    Candidates(Vec<Contact>),
    /// The mode changed.
    Mode(Mode),
    /// A node in another partition of the overlay: a link to it is to be made.
    Bridge(Contact),
    /// Revocations received from another node, not checked.
    Revocations {
        /// The node that sent or announced them.
        from: PublicKey,
        /// Their signed bytes.
        revocations: Vec<Bytes>,
    },
    /// Settings of the network received from another node, not checked.
    Settings(Bytes),
    /// A record with this node's own key arrived that neither this incarnation nor an earlier one
    /// signed: another machine runs with this identity.
    Elsewhere(RecordVersion),
}
