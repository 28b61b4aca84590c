//! What can happen to a node.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, LocalAddress, PublicKey, UnixMillis};
use potluck_record::{OpId, StorageReply};

use potluck_wire::Refusal;

use crate::command::{Command, CommandId};

/// Names a call that this node makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Names a call that another node makes to this one; chosen by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundId(pub u64);

/// Identifies an enrolment that the shell decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnrolmentId(pub u64);

/// An input of the node machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A control datagram came in.
    Datagram {
        /// From this address.
        from: SocketAddr,
        /// As it was on the wire.
        bytes: Bytes,
    },
    /// The announced deadline came.
    Timeout,
    /// The application wants something.
    Command {
        /// Returned in the reply.
        id: CommandId,
        /// The command.
        command: Command,
    },
    /// A storage operation was carried out; merges and removals are durable.
    Stored {
        /// The operation.
        id: OpId,
        /// The result.
        reply: StorageReply,
    },
    /// A call was answered.
    Answered {
        /// The call.
        call: CallId,
        /// The answer.
        bytes: Bytes,
    },
    /// A call failed.
    CallFailed {
        /// The call.
        call: CallId,
    },
    /// Another node calls.
    Called {
        /// Who, proved by the transport.
        from: PublicKey,
        /// The address.
        address: SocketAddr,
        /// Returned with the answer.
        inbound: InboundId,
        /// The request.
        bytes: Bytes,
    },
    /// The wall clock shows this. Given at the start, then about once a second.
    WallClock {
        /// The time.
        now: UnixMillis,
    },
    /// The machine slept, or the clocks leapt: it may go on from a copy of its memory.
    Resumed {
        /// How long the pause was.
        gap: Duration,
        /// Randomness that no copy of this process has: from the OS in the real world.
        entropy: [u8; 32],
    },
    /// Where this node is, as far as it can see itself: given at the start and at each change.
    AddressesChanged {
        /// What its owner says that others reach it at; this wins over what peers see.
        advertised: Vec<SocketAddr>,
        /// The addresses of the interfaces that it listens on, the best ones first.
        local: Vec<LocalAddress>,
    },
    /// The shell decided an enrolment of `Output::Enroll`; the certificate is durable in its book.
    Enrolled {
        /// The enrolment.
        id: EnrolmentId,
        /// The signed certificate, or why there is none.
        result: Result<Bytes, Refusal>,
    },
    /// The own certificate will expire: ask for a new one, of these first.
    Renew {
        /// Nodes that may hold the authority key.
        contacts: Vec<Contact>,
    },
    /// The own certificate from now on.
    Certificate {
        /// Its signed bytes.
        certificate: Bytes,
    },
    /// In an `open` network: the own proof of the puzzles from now on.
    PuzzleSolved {
        /// Its bytes.
        proof: Bytes,
    },
    /// A DNS name was resolved; no address means it was not.
    Resolved {
        /// The name as it was asked for, `name:port`.
        name: String,
        /// Its addresses, in groups by preference.
        addresses: Vec<Vec<SocketAddr>>,
    },
    /// A DNS name, `name:port`, to be asked while all entry points are silent; given at the start.
    LastResort {
        /// The name.
        name: String,
    },
    /// A node of this network may be at this address of the local network.
    Candidate {
        /// The address.
        address: SocketAddr,
    },
    /// Contacts of the last run, given at the start.
    Remembered {
        /// The contacts.
        contacts: Vec<Contact>,
    },
    /// The names of the files that this node shares and search may find; all of them.
    SharedNames(Vec<potluck_gossip::FoundFile>),
    /// This node shares too many names to announce; each search asks for them by
    /// [`Output::LookForNames`](crate::Output::LookForNames).
    SharedNamesElsewhere(usize),
    /// Answers one [`Output::LookForNames`](crate::Output::LookForNames).
    NamesFound {
        /// For which search.
        query: potluck_wire::search::QueryId,
        /// What fits.
        files: Vec<potluck_gossip::FoundFile>,
    },
    /// Something concerning files: shares, fetches, streams.
    Swarm(potluck_swarm::Input),
}
