//! The commands of the key-value store, and their replies.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Key, NodeId, Peer, PublicKey, UnixMillis};
use potluck_record::{
    Context, Dot, DraftError, Kind, Name, NamedState, NamesQuery, Operation, OperationError,
    Reading, ShareError, Space, StateDigest, StorageFailure, TeamId,
};
use potluck_wire::Refusal;

use crate::change::Change;
use crate::equivocation::Equivocation;

/// Identifies a command; chosen by its issuer and returned in the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// The versions that a write supersedes.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteContext {
    /// The state that the node reads first. If that has siblings, nothing is written.
    Read,
    /// Nothing: the value becomes a sibling of those that exist.
    Blind,
    /// Exactly the versions that this context covers.
    Given(Context),
}

/// A write.
#[derive(Debug, Clone, PartialEq)]
pub struct Put {
    /// The space of the key, which says which writers may write it.
    pub space: Space,
    /// The record's name; `None` in [`Space::Content`].
    pub name: Option<Name>,
    /// How readers merge concurrent values; `None`: as the existing record, or siblings if there is
    /// none.
    pub kind: Option<Kind>,
    /// The value; `None` deletes.
    pub value: Option<Bytes>,
    /// Lifetime of the value; `None`: the configured default.
    pub ttl: Option<Duration>,
    /// Acknowledgements to wait for; `None`: a majority of the replica set.
    pub quorum: Option<u16>,
    /// The versions that the write supersedes.
    pub context: WriteContext,
}

/// An operation on a counter, set or map.
#[derive(Debug, Clone, PartialEq)]
pub struct Apply {
    /// The space of the key: commons, or the own space of this node.
    pub space: Space,
    /// The record's name.
    pub name: Name,
    /// The operation.
    pub operation: Operation,
    /// Acknowledgements to wait for; `None`: a majority of the replica set.
    pub quorum: Option<u16>,
}

/// A command of the application.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Write or delete.
    Put(Put),
    /// Change a counter, set or map.
    Apply(Apply),
    /// Read.
    Get {
        /// The key.
        key: Key,
        /// Replicas that must agree; `None`: the configured number, fewer if fewer are left.
        quorum: Option<u16>,
    },
    /// Ask every replica what it holds.
    Replicas {
        /// The key.
        key: Key,
    },
    /// One page of the names of a space.
    Names(ListNames),
    /// Read what this node itself holds as a replica.
    Local {
        /// The key.
        key: Key,
    },
    /// Watch a key: the present values are the reply, and each change comes as
    /// [`Output::Changed`](crate::Output::Changed), once however often the key is watched.
    Watch {
        /// The key.
        key: Key,
    },
    /// Watch a key no more.
    Unwatch {
        /// The key.
        key: Key,
    },
}

/// A write that enough replicas have made durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The key.
    pub key: Key,
    /// The value's version.
    pub version: Dot,
    /// Replicas that had acknowledged when the quorum was reached.
    pub acks: u16,
    /// Replicas that the record is sent to.
    pub wanted: u16,
    /// Members known to this node.
    pub members: usize,
    /// When the value expires.
    pub expires: UnixMillis,
    /// The nodes that acknowledged.
    pub replicas: Vec<NodeId>,
}

/// The result of a read.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadDone {
    /// The key.
    pub key: Key,
    /// The values and their context; no value means absent or deleted.
    pub reading: Reading,
    /// Fingerprint of the state that was read.
    pub digest: StateDigest,
    /// Replicas that answered.
    pub answers: u16,
    /// Whether this node read a newer version before, which nodes that answered now do not show: some of them
    /// hide it, or it is on the other side of a partition. The key was looked up twice.
    pub older: bool,
}

/// How a replica's state compares to the merged state of all replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaState {
    /// It equals the merged state.
    Equal,
    /// It lacks versions, and all it holds is superseded by them.
    Behind,
    /// Never reported: a replica that holds versions which the others lack equals the merged state.
    /// Kept because the variant is public.
    Ahead,
    /// It lacks versions, and holds one that they do not supersede.
    Concurrent,
    /// It holds nothing.
    Missing,
    /// It did not answer.
    Unreachable,
}

impl ReplicaState {
    /// The word for it in the JSON of the HTTP interface and in the command line's output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Behind => "behind",
            Self::Ahead => "ahead",
            Self::Concurrent => "concurrent",
            Self::Missing => "missing",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The part of a record that one node holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Held {
    /// Whether it holds anything.
    pub present: bool,
    /// Kind of the newest envelope.
    pub kind: Option<Kind>,
    /// Bytes of all its envelopes.
    pub bytes: usize,
    /// Live values.
    pub siblings: usize,
    /// Highest dot per writer.
    pub version: Context,
    /// When the last live value expires.
    pub expires: Option<UnixMillis>,
    /// Whether this node belongs to the replica set, as far as its close group shows.
    pub responsible: bool,
    /// Writers that signed two envelopes of the record with one dot, as far as this node met both.
    pub equivocations: Vec<Equivocation>,
}

/// A question for one page of names.
#[derive(Debug, Clone, PartialEq)]
pub struct ListNames {
    /// Which names, and how many at most.
    pub query: NamesQuery,
    /// The other members that are asked. This node is asked in any case, if it keeps records.
    pub members: Vec<Peer>,
    /// Whether these are all members of the network.
    pub all_members: bool,
}

/// One page of names.
#[derive(Debug, Clone, PartialEq)]
pub struct NamesListed {
    /// The names with a live value, in their order as bytes.
    pub names: Vec<NamedState>,
    /// Where the next page begins: pass it as `after`. `None`: there is none.
    pub next: Option<String>,
    /// Whether all members of the network were asked.
    pub all_members: bool,
    /// Members that were asked, this node included.
    pub asked: usize,
    /// Members that answered, this node included.
    pub answered: usize,
    /// Members that did not answer, at most [`crate::names::SILENT_MAX`] of them.
    pub silent: Vec<Peer>,
}

/// The result of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The write is durable at enough replicas.
    Written(Written),
    /// A write without context found siblings and wrote nothing.
    Conflict(ReadDone),
    /// The read.
    Read(ReadDone),
    /// The replicas, closest first.
    Replicas(Vec<(Peer, ReplicaState)>),
    /// One page of names.
    Names(NamesListed),
    /// What this node holds.
    Local(Held),
    /// The key is watched; these are its present values.
    Watching(Change),
    /// The key is not watched any more.
    Unwatched,
    /// The command failed.
    Failed(CommandError),
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Too many commands are under way. Nothing changed; try again.
    #[error("this node is busy; try again")]
    Busy,
    /// This node watches as many keys, or as large records, as it may. End another watch.
    #[error("this node watches as many records as it may; end another watch")]
    TooManyWatches,
    /// Too few replicas acknowledged in time. The value is kept by this node and may still spread.
    #[error("only {acks} of the {needed} replicas needed acknowledged")]
    TooFewAcks {
        /// Acknowledgements.
        acks: u16,
        /// How many were needed.
        needed: u16,
        /// Replicas that were asked.
        wanted: u16,
        /// Members known.
        members: usize,
    },
    /// Too few replicas answered to tell. Nothing changed.
    #[error("only {answers} of the {needed} replicas needed answered")]
    TooFewAnswers {
        /// Answers.
        answers: u16,
        /// How many were needed.
        needed: u16,
    },
    /// There is nothing to delete. Nothing changed.
    #[error("there is no such record")]
    Absent,
    /// The value, or the values it would stand beside, break a limit or rule. Nothing changed.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The record is of another kind than the write is for. Nothing changed.
    #[error("{} is kept under this name; {}", described(.there), how_to_change(.there, .asked))]
    OtherKind {
        /// The kind of the record.
        there: Kind,
        /// The kind of the write.
        asked: Kind,
    },
    /// The operation is not possible. Nothing changed.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// This node would keep more under the name than one writer may. Nothing changed.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// A replica was asked to carry the operation out, because the record has no room for a further
    /// writer, and it did not say what became of it. It may have been carried out.
    #[error(
        "it is not known whether the operation was carried out: the replica that was asked to do it \
         gave no clear answer; read the record before you repeat it"
    )]
    Unknown,
    /// The context cannot come from a read: it names versions dated in the future. Nothing changed.
    #[error("the context names versions that lie ahead of any clock; use one that a read returned")]
    BadContext,
    /// The requested lifetime is longer than this network allows. Nothing changed.
    #[error("a record lives at most {} days here", .0.as_secs() / 86_400)]
    TooLong(Duration),
    /// Records that several other nodes hold are dated minutes ahead of this node's clock, or the
    /// clock is minutes behind this node's own last write. Nothing changed.
    #[error("this node's clock is minutes behind the records that are kept; set the clock")]
    Clock,
    /// The replicas refused the write because it is dated over five minutes ahead. It was taken back.
    #[error("this node's clock is minutes ahead of those of the replicas; set the clock")]
    ClockAhead,
    /// The peers' clocks differ from this node's by more than five minutes. Nothing changed.
    #[error(
        "this node's clock is {} minutes {} those of its peers; set the clock, nothing is written \
         until then", .0.unsigned_abs() / 60_000, if *.0 < 0 { "ahead of" } else { "behind" }
    )]
    ClockOff(i64),
    /// Replicas hold an envelope that was signed with this node's key and not by this process: another
    /// machine runs with a copy of its data folder, or an older copy was put back. The write was not
    /// acknowledged, and this node writes nothing any more.
    #[error(
        "another machine writes with this node's identity, or an older copy of its data folder was \
         put back; this node writes nothing any more"
    )]
    LostOwn,
    /// The network keeps no records in the space `commons`. Nothing changed.
    #[error(
        "an open network has no space commons, where each stranger could write under each name; use the \
         space own, content or team/<id>"
    )]
    NoCommons,
    /// This node is not on the list of the team's writers. Nothing changed.
    #[error(
        "this node may not write in team/{team}: it is not on the list that its owner {owner} signed"
    )]
    NotWriter {
        /// The team.
        team: TeamId,
        /// The public key of its owner.
        owner: PublicKey,
    },
    /// There is no list of the team's writers. Nothing changed.
    #[error("there is no team/{0} in this network")]
    NoTeam(TeamId),
    /// Replicas refused. If all refused permanently (no room, too many writers, too long a lifetime),
    /// nothing changed. Otherwise this node keeps the value, and readers may see it later.
    #[error("the replicas refused: {0}")]
    Refused(Refusal),
    /// This node's own store failed. Nothing changed.
    #[error(transparent)]
    Storage(#[from] StorageFailure),
    /// The node has not joined its network yet and cannot locate replicas. Nothing changed.
    #[error("this node is not in its network, so it cannot tell where records are")]
    NotJoined,
    /// The authority has revoked this node or the ticket that admitted it: the other nodes ignore it.
    /// Nothing changed.
    #[error("this node was put out of its network, so no other node takes or answers anything")]
    PutOut,
    /// The node is leaving.
    #[error("this node is leaving the network")]
    Leaving,
}

/// What can be done instead of a write for another kind.
fn how_to_change(there: &Kind, asked: &Kind) -> String {
    let delete = || format!("delete it first to make a {asked} of it");
    there.how_to_change().map_or_else(delete, |how| format!("{how}, or delete it first"))
}

/// A record of this kind, in words.
fn described(there: &Kind) -> String {
    match there {
        Kind::Counter | Kind::Set | Kind::Map => format!("a {there}"),
        Kind::Siblings | Kind::Lww => "a value that was put".to_owned(),
        Kind::PerWriter | Kind::Unknown(_) => format!("a record of the kind {there}"),
    }
}
