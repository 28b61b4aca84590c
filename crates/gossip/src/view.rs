//! The members in the form that applications and users see.

use potluck_base::{BlobId, Peer, PublicKey};
use potluck_wire::Software;

/// How much of the network this node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All of it: the full signed member list.
    Fleet,
    /// A bounded part of it.
    Open,
}

/// As a number: 1 for the full list.
impl potluck_base::statistics::Measure for Mode {
    fn measure(
        &self,
        _unit: potluck_base::statistics::Unit,
    ) -> Option<potluck_base::statistics::Number> {
        Some(potluck_base::statistics::Number::Whole(u64::from(*self == Self::Fleet)))
    }
}

impl Mode {
    /// The word used in answers to people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fleet => "fleet",
            Self::Open => "open",
        }
    }
}

/// The state of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberState {
    /// It was heard from, or nothing contradicts that it is alive.
    Alive,
    /// It did not answer and has some time to refute.
    Suspect,
    /// It did not refute in that time.
    Dead,
    /// It left.
    Left,
}

impl MemberState {
    /// Whether it counts as alive: alive or suspect.
    #[must_use]
    pub const fn is_here(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }

    /// The word used in answers to people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Left => "left",
        }
    }
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Its id, key and address.
    pub peer: Peer,
    /// Its state in this node's own judgement.
    pub state: MemberState,
    /// Higher with every start of the member.
    pub incarnation: u64,
    /// Its labels, given by its owner.
    pub labels: Vec<(String, String)>,
    /// What it runs, as its record says; `None` while only its traffic is known.
    pub software: Option<Software>,
}

/// The members this node knows, itself included, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembersView {
    /// How much of the network the list covers.
    pub mode: Mode,
    /// The members.
    pub members: Vec<MemberView>,
}

/// A change of a member, in this node's judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A new member.
    Joined,
    /// It does not answer.
    Suspected,
    /// It was suspected and was heard from.
    Refuted,
    /// It was declared dead.
    Died,
    /// It left.
    Left,
    /// It was dead or had left, and is back.
    Returned,
    /// The network's authority expelled it.
    Revoked,
}

impl Change {
    /// The word used in answers to people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Suspected => "suspected",
            Self::Refuted => "refuted",
            Self::Died => "died",
            Self::Left => "left",
            Self::Returned => "returned",
            Self::Revoked => "revoked",
        }
    }
}

/// A change of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberEvent {
    /// The member.
    pub peer: Peer,
    /// The change.
    pub change: Change,
}

/// Why a link of the overlay was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The neighbour did not answer.
    Crashed,
    /// The neighbour left.
    Left,
    /// The neighbour made room for another one.
    Evicted,
    /// This node made room.
    Replaced,
    /// The neighbour broke the rules.
    Misbehaved,
    /// This node was isolated or slept.
    LocalSuspend,
    /// The neighbour is alive and no longer knew the link: it took this node for gone, or
    /// restarted.
    Forgotten,
}

impl Cause {
    /// The word used in answers to people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crashed => "crashed",
            Self::Left => "left",
            Self::Evicted => "evicted",
            Self::Replaced => "replaced",
            Self::Misbehaved => "misbehaved",
            Self::LocalSuspend => "local suspend",
            Self::Forgotten => "forgotten",
        }
    }
}

/// A shared file: its name, and what to fetch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundFile {
    /// The name it was shared under, at most 255 bytes.
    pub name: String,
    /// The id that its link contains.
    pub root: BlobId,
    /// Its size in bytes; of a folder, that of all its files.
    pub bytes: u64,
    /// Whether it is a folder.
    pub folder: bool,
    /// The node that has it; `None` for this node's own.
    pub holder: Option<PublicKey>,
}
