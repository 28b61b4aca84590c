//! Members as people and programs see them.

use potluck_base::{BlobId, Peer, PublicKey};

/// How much of the network this node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All of it: the full signed list.
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

/// Whether a member is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberState {
    /// It was heard, or nothing speaks against it.
    Alive,
    /// It did not answer; it has some time to be heard.
    Suspect,
    /// It did not answer in that time either.
    Dead,
    /// It said good-bye.
    Left,
}

impl MemberState {
    /// Whether it is taken to be there: alive, or suspect.
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
    /// Who, and where.
    pub peer: Peer,
    /// Whether it is there, in this node's own judgement.
    pub state: MemberState,
    /// Higher with every start of the member.
    pub incarnation: u64,
    /// What its owner calls it.
    pub labels: Vec<(String, String)>,
}

/// The members this node knows, in the order of their ids; itself included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembersView {
    /// How much of the network that is.
    pub mode: Mode,
    /// The members.
    pub members: Vec<MemberView>,
}

/// What happened to a member, in this node's judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A new one.
    Joined,
    /// It does not answer.
    Suspected,
    /// It was suspected and has been heard.
    Refuted,
    /// It is taken for dead.
    Died,
    /// It said good-bye.
    Left,
    /// It was dead or had left, and is back.
    Returned,
    /// The network's authority has shut it out.
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

/// Something happened to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberEvent {
    /// Who.
    pub peer: Peer,
    /// What.
    pub change: Change,
}

/// Why a neighbour of the overlay went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It gave no answer.
    Crashed,
    /// It said good-bye.
    Left,
    /// It made room for another of its own neighbours.
    Evicted,
    /// This node made room.
    Replaced,
    /// It broke the rules.
    Misbehaved,
    /// This node itself was cut off or slept.
    Isolated,
    /// It lives and knows nothing of the link: it took this node for gone, or began anew.
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
            Self::Isolated => "local suspend",
            Self::Forgotten => "forgotten",
        }
    }
}

/// A shared file: what its sharer calls it, and what to fetch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundFile {
    /// The name it was shared under, at most 255 bytes.
    pub name: String,
    /// What its link names.
    pub root: BlobId,
    /// Its bytes; of a folder, those of all its files.
    pub bytes: u64,
    /// Whether it is a folder.
    pub folder: bool,
    /// Who has it; `None` for this node's own.
    pub holder: Option<PublicKey>,
}
