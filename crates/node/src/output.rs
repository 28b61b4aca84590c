//! What a node wants done.

use std::net::SocketAddr;

use bytes::Bytes;
use potluck_base::{Contact, Peer};
use potluck_record::{OpId, StorageOp};

use crate::command::{CommandId, Reply};
use crate::input::{CallId, InboundId};

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
        /// To be named in the answer.
        id: OpId,
        /// The operation.
        op: StorageOp,
    },
    /// Call a node; answer with `Input::Answered` or `Input::CallFailed`.
    Call {
        /// To be named in the answer.
        id: CallId,
        /// Whom; the transport makes sure that it is this key that answers.
        to: Contact,
        /// The request, at most 256 KiB.
        bytes: Bytes,
    },
    /// Answer a call that came in.
    AnswerCall {
        /// Which.
        inbound: InboundId,
        /// The answer, at most 256 KiB.
        bytes: Bytes,
    },
    /// Resolve a DNS name `name:port`; answer with `Input::Resolved`.
    Resolve {
        /// The name.
        name: String,
    },
    /// Remember these contacts for the next run. Losing them loses nothing but speed.
    SaveContacts {
        /// The contacts.
        contacts: Vec<Contact>,
    },
    /// A command is answered.
    Reply {
        /// Which.
        id: CommandId,
        /// With what.
        reply: Reply,
    },
    /// Something concerning files: a place, a stream, the end of a fetch. Only those outputs of the
    /// swarm come here that are for the shell.
    Swarm(potluck_swarm::Output),
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
}
