//! What the machine is told and what it wants done.

use std::ops::Range;
use std::time::Duration;

use potluck_base::{BlobId, Contact, GranuleSet, PublicKey};
use potluck_wire::{Hint, Holding, Refusal};

/// Identifies a fetch; chosen by the caller that begins it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub u64);

/// Names one stream of granules from one source; chosen here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub u64);

/// Names a question to another node; chosen here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Identifies another node's question or stream; chosen by the node machine or the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServeId(pub u64);

/// A fetch as it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Begin {
    /// Its name.
    pub fetch: FetchId,
    /// What to fetch.
    pub blob: BlobId,
    /// Under which name providers are found: the blob's own, or that of the manifest whose data the
    /// blob is.
    pub root: BlobId,
    /// Nodes that are known to have it.
    pub sources: Vec<Contact>,
    /// Its size, if a manifest says it. Otherwise a source's claim is proven first.
    pub size: Option<u64>,
}

/// Most blobs whose names and times are sent to other nodes.
pub const HINTS_MAX: usize = 65_536;

/// Why a node has a blob no longer that it shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gone {
    /// Its files are not what they were.
    Changed,
    /// It is no longer shared.
    Unshared,
    /// The disk does not give it.
    Unreadable,
}

impl Gone {
    /// As others are told.
    #[must_use]
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::Changed => Refusal::Changed,
            Self::Unshared => Refusal::Unshared,
            Self::Unreadable => Refusal::Unreadable,
        }
    }

    /// What a refusal of another node says of the blob; `None` for refusals with another reason.
    #[must_use]
    pub fn of(refusal: Refusal) -> Option<Self> {
        let all = [Self::Changed, Self::Unshared, Self::Unreadable];
        all.into_iter().find(|gone| gone.refusal() == refusal)
    }
}

/// How a stream of granules ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferEnd {
    /// All granules came.
    Done,
    /// A granule did not verify. Nothing of it was kept.
    Corrupt,
    /// The source has too much to do.
    Busy,
    /// The source does not have what was asked for.
    NotHeld,
    /// The source has it no longer.
    Gone(Gone),
    /// The connection broke or could not be made, or nothing came for too long.
    Lost,
}

/// An input.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// This node has all of a blob and may serve it.
    Held {
        /// The blob.
        blob: BlobId,
        /// Its size.
        size: u64,
        /// Whether to tell the network.
        announce: bool,
    },
    /// This node shares more than it tells by [`Input::Held`], or not any more: what others ask for is
    /// looked up by [`Output::Check`], and roots to announce come by [`Output::MoreRoots`].
    Elsewhere(bool),
    /// Answers one [`Output::MoreRoots`].
    Roots {
        /// The next roots.
        roots: Vec<BlobId>,
        /// These are the last ones: a new round begins.
        over: bool,
    },
    /// Answers one [`Output::Check`].
    Checked {
        /// The blob.
        blob: BlobId,
        /// Its size, if this node has all of it and may serve it.
        size: Option<u64>,
    },
    /// What this node calls a blob that it has all of. Others are told of the names of the first
    /// [`HINTS_MAX`] blobs.
    Named {
        /// The blob.
        blob: BlobId,
        /// What is told of it.
        hint: Hint,
    },
    /// This node has a part of a blob, which an earlier fetch brought, and may serve it. Others are told
    /// of it under the name of the root.
    HeldPart {
        /// The blob.
        blob: BlobId,
        /// Under which name providers are found.
        root: BlobId,
        /// Its size, which is proven.
        size: u64,
        /// What is here.
        have: GranuleSet,
    },
    /// This node no longer serves a blob.
    Released {
        /// The blob.
        blob: BlobId,
    },
    /// This node no longer has the blob that it served, and says so to nodes that ask.
    Lost {
        /// The blob.
        blob: BlobId,
        /// Which granules; `None`: all, and it is released.
        granules: Option<GranuleSet>,
        /// The reason.
        why: Gone,
    },
    /// Fetch a blob.
    Begin(Begin),
    /// There is a place for the blob; this much of it is there already.
    Opened {
        /// The fetch.
        fetch: FetchId,
        /// What is there.
        have: GranuleSet,
    },
    /// These granules may be on this machine already: they are requested from no node until that is
    /// known. To be said before [`Input::Opened`].
    Checking {
        /// The fetch.
        fetch: FetchId,
        /// Which granules.
        granules: GranuleSet,
    },
    /// It is known of these granules whether they are on this machine already.
    Compared {
        /// The fetch.
        fetch: FetchId,
        /// The granules.
        granules: Vec<u32>,
        /// Those that were found, are in their place and are safe from a loss of power.
        found: Vec<u32>,
    },
    /// There is no place for a blob of this size.
    NoPlace {
        /// The fetch.
        fetch: FetchId,
    },
    /// A reader waits for these granules: they have priority.
    Wanted {
        /// The fetch.
        fetch: FetchId,
        /// The granules.
        granules: Range<u32>,
    },
    /// Give a fetch up.
    Cancel {
        /// The fetch.
        fetch: FetchId,
    },
    /// Nodes that provide the root.
    Providers {
        /// For this fetch.
        fetch: FetchId,
        /// The providers; none if none was found or it could not be looked up.
        contacts: Vec<Contact>,
        /// Whether enough replicas said that there is none.
        absent: bool,
    },
    /// Others reach this node elsewhere than they did: what is announced is announced again.
    Relocated,
    /// An announcement is with the replicas, or could not be made.
    Announced {
        /// What was announced.
        root: BlobId,
        /// Whether it was.
        done: bool,
    },
    /// A source said what it has, or why it gives nothing.
    Holds {
        /// Which question.
        ask: AskId,
        /// The answer.
        holding: Result<Holding, Refusal>,
        /// How long the answer took, if that says something of the path.
        round_trip: Option<Duration>,
    },
    /// A source did not answer.
    AskFailed {
        /// Which question.
        ask: AskId,
    },
    /// Some bytes of a transfer came. At least every half second while they do.
    Moved {
        /// The transfer.
        transfer: TransferId,
    },
    /// A granule came, was verified and is in its place.
    Granule {
        /// In this transfer.
        transfer: TransferId,
        /// The granule.
        granule: u32,
    },
    /// A transfer is over.
    Ended {
        /// The transfer.
        transfer: TransferId,
        /// The result.
        end: TransferEnd,
    },
    /// The failure detector says that this node is gone: what it was sending will not come.
    PeerGone(PublicKey),
    /// Another node asks what this one has.
    AskedHave {
        /// Returned with the answer.
        serve: ServeId,
        /// The asking node.
        from: Contact,
        /// Of what.
        blob: BlobId,
        /// How many bytes the answer may have.
        budget: usize,
    },
    /// Another node opened a stream for granules.
    AskedFetch {
        /// Returned with the answer.
        serve: ServeId,
        /// The asking node.
        from: PublicKey,
        /// Of what.
        blob: BlobId,
    },
    /// A stream that was served or waited is over.
    Served {
        /// The question or stream.
        serve: ServeId,
    },
    /// The announced deadline came.
    Timeout,
}

/// Why a fetch failed. What came is kept; a new fetch goes on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No node that has it was found, or all that had it are gone.
    #[error("no node that has it could be reached")]
    NoSource,
    /// A node that shared it says that its files are not what they were, and no other gives it.
    #[error("the file changed at its source since it was shared; no other node gives it")]
    Changed,
    /// A node that shared it says that it does not any more, and no other gives it.
    #[error("its source does not share it any more; no other node gives it")]
    Unshared,
    /// A node that shared it says that its disk does not give it, and no other gives it.
    #[error("its source cannot read it from its disk; no other node gives it")]
    Unreadable,
    /// It is not announced: enough replicas said so, several times in a row.
    #[error("no node of this network shares it")]
    Unknown,
    /// There is no room for it.
    #[error("there is no room for it")]
    NoPlace,
    /// Too many fetches at once.
    #[error("too many fetches are under way")]
    Busy,
    /// It was cancelled.
    #[error("the fetch was given up")]
    Cancelled,
}

/// What a fetch did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchReport {
    /// Verified bytes from each source that gave any.
    pub sources: Vec<(Contact, u64)>,
    /// Bytes that came twice.
    pub duplicate_bytes: u64,
    /// Sources that sent something that did not verify.
    pub corrupt_sources: usize,
    /// Times that a source was replaced because others are faster.
    pub slow_sources: usize,
}

/// Most sources that a view of a fetch names.
pub const FULL_SOURCES_MAX: usize = 8;

/// A fetch as it stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FetchView {
    /// Bytes of the blob, once known.
    pub size: Option<u64>,
    /// Bytes that are here.
    pub bytes: u64,
    /// Sources known, and of these, sources that send now.
    pub sources: (usize, usize),
    /// Sources that have all of it, at most [`FULL_SOURCES_MAX`], the quickest first.
    pub full: Vec<Contact>,
    /// What it did so far.
    pub report: FetchReport,
}

/// An output.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Find nodes that provide `root`; answer with [`Input::Providers`].
    FindProviders {
        /// For this fetch.
        fetch: FetchId,
        /// Of what.
        root: BlobId,
    },
    /// Tell the network that this node provides `root`; answer with [`Input::Announced`].
    Announce {
        /// The root.
        root: BlobId,
        /// Whether all of it is here.
        complete: bool,
    },
    /// Say which roots come next in the round over all that is shared; answer with [`Input::Roots`].
    MoreRoots {
        /// The largest number of entries.
        max: usize,
    },
    /// Look whether this node has all of a blob and may serve it; answer with [`Input::Checked`].
    Check {
        /// The blob.
        blob: BlobId,
    },
    /// Ask a node what it has of a blob; answer with [`Input::Holds`] or [`Input::AskFailed`].
    AskHave {
        /// Returned with the answer.
        ask: AskId,
        /// The node.
        to: Contact,
        /// Of what.
        blob: BlobId,
        /// Whether the answer does not fit in a datagram.
        large: bool,
    },
    /// Make a place for a blob of this size; answer with [`Input::Opened`] or [`Input::NoPlace`].
    /// May come again with another size while nothing has been verified.
    Open {
        /// For this fetch.
        fetch: FetchId,
        /// The blob.
        blob: BlobId,
        /// Its size, as a source says.
        size: u64,
        /// What a source of that size calls it.
        hint: Option<Hint>,
    },
    /// Get granules from a source, verify each and put it in its place; tell with
    /// [`Input::Granule`] and [`Input::Ended`].
    Transfer {
        /// To be named in the inputs.
        transfer: TransferId,
        /// For this fetch.
        fetch: FetchId,
        /// From whom.
        from: Contact,
        /// Of what.
        blob: BlobId,
        /// Its size.
        size: u64,
        /// Which, in this order.
        granules: Vec<u32>,
    },
    /// A transfer is not wanted any more. Nothing more is to be said of it.
    CancelTransfer {
        /// The transfer.
        transfer: TransferId,
    },
    /// All granules are here.
    Completed {
        /// Which fetch.
        fetch: FetchId,
        /// What it did.
        report: FetchReport,
    },
    /// A fetch ended without all of it.
    Failed {
        /// Which fetch.
        fetch: FetchId,
        /// The error.
        error: FetchError,
        /// What it did.
        report: FetchReport,
    },
    /// Answer to [`Input::AskedHave`].
    Holding {
        /// Which question.
        serve: ServeId,
        /// What is here.
        answer: Result<Holding, Refusal>,
    },
    /// Send what was asked for in this stream, then say [`Input::Served`].
    Serve {
        /// The question or stream.
        serve: ServeId,
    },
    /// End this stream unserved.
    Refuse {
        /// The question or stream.
        serve: ServeId,
        /// The reason.
        reason: Refusal,
    },
}
