//! The inputs and outputs of the machine.

use std::ops::Range;
use std::time::Duration;

use potluck_base::{BlobId, Contact, GranuleSet, PublicKey};
use potluck_wire::{Hint, Holding, Refusal};

/// Identifies a fetch; chosen by the caller that begins it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub u64);

/// Identifies one stream of granules from one source; chosen by this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub u64);

/// Identifies a question to another node; chosen by this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Identifies another node's question or stream; chosen by the node machine or the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServeId(pub u64);

/// A fetch that begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Begin {
    /// Its id.
    pub fetch: FetchId,
    /// The blob to fetch.
    pub blob: BlobId,
    /// The name under which providers are found: the blob's own, or that of the manifest whose data the blob
    /// is.
    pub root: BlobId,
    /// Nodes that are known to have it.
    pub sources: Vec<Contact>,
    /// Its size, if a manifest contains it. Otherwise the claim of a source is proven first.
    pub size: Option<u64>,
}

/// Most blobs whose names and times are sent to other nodes.
pub const HINTS_MAX: usize = 65_536;

/// Why a node no longer has a blob that it shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gone {
    /// Its files have changed.
    Changed,
    /// It is no longer shared.
    Unshared,
    /// Its disk returns an error.
    Unreadable,
}

impl Gone {
    /// The refusal that is sent to other nodes.
    #[must_use]
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::Changed => Refusal::Changed,
            Self::Unshared => Refusal::Unshared,
            Self::Unreadable => Refusal::Unreadable,
        }
    }

    /// The meaning of another node's refusal for the blob. `None` for refusals with other reasons.
    #[must_use]
    pub fn of(refusal: Refusal) -> Option<Self> {
        let all = [Self::Changed, Self::Unshared, Self::Unreadable];
        all.into_iter().find(|gone| gone.refusal() == refusal)
    }
}

/// The end of a stream of granules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferEnd {
    /// All granules arrived.
    Done,
    /// A granule did not verify. Nothing of it was stored.
    Corrupt,
    /// The source is busy.
    Busy,
    /// The source does not have the requested granules.
    NotHeld,
    /// The source no longer has the blob.
    Gone(Gone),
    /// The connection broke or could not be made, or no data arrived for too long.
    Lost,
}

/// An input.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// This node has a complete blob and may serve it.
    Held {
        /// The blob.
        blob: BlobId,
        /// Its size.
        size: u64,
        /// Whether to announce it in the network.
        announce: bool,
    },
    /// Whether this node shares more than it reports with [`Input::Held`]. If so, blobs that other nodes
    /// request are looked up with [`Output::Check`], and roots to announce are requested with
    /// [`Output::MoreRoots`].
    Elsewhere(bool),
    /// Answers one [`Output::MoreRoots`].
    Roots {
        /// The next roots.
        roots: Vec<BlobId>,
        /// Whether these are the last ones of the round. The next answer begins a new round.
        over: bool,
    },
    /// Answers one [`Output::Check`].
    Checked {
        /// The blob.
        blob: BlobId,
        /// Its size, if this node has the complete blob and may serve it.
        size: Option<u64>,
    },
    /// The name and times of a complete blob. They are sent to other nodes for the first [`HINTS_MAX`] blobs.
    Named {
        /// The blob.
        blob: BlobId,
        /// The name and times that are sent.
        hint: Hint,
    },
    /// This node has a part of a blob from an earlier fetch, and may serve it. It is announced under the name
    /// of the root.
    HeldPart {
        /// The blob.
        blob: BlobId,
        /// The name under which providers are found.
        root: BlobId,
        /// Its size, which is proven.
        size: u64,
        /// The granules that are stored.
        have: GranuleSet,
    },
    /// This node no longer serves a blob.
    Released {
        /// The blob.
        blob: BlobId,
    },
    /// This node no longer has a blob that it served, and tells nodes that ask.
    Lost {
        /// The blob.
        blob: BlobId,
        /// The lost granules. `None`: all, and the blob is released.
        granules: Option<GranuleSet>,
        /// The reason.
        why: Gone,
    },
    /// Begins to fetch a blob.
    Begin(Begin),
    /// The place of the blob was created or opened; some granules may be stored already.
    Opened {
        /// The fetch.
        fetch: FetchId,
        /// The stored granules.
        have: GranuleSet,
    },
    /// These granules may be on this machine already, and are requested from no node until
    /// [`Input::Compared`]. Must come before [`Input::Opened`].
    Checking {
        /// The fetch.
        fetch: FetchId,
        /// The granules.
        granules: GranuleSet,
    },
    /// These granules were compared with files on this machine.
    Compared {
        /// The fetch.
        fetch: FetchId,
        /// The granules.
        granules: Vec<u32>,
        /// Those that were found, were stored, and survive a loss of power.
        found: Vec<u32>,
    },
    /// The blob cannot be stored with this size.
    NoPlace {
        /// The fetch.
        fetch: FetchId,
    },
    /// A reader waits for these granules, so they have priority.
    Wanted {
        /// The fetch.
        fetch: FetchId,
        /// The granules.
        granules: Range<u32>,
    },
    /// Cancels a fetch.
    Cancel {
        /// The fetch.
        fetch: FetchId,
    },
    /// The result of a lookup of providers.
    Providers {
        /// The fetch.
        fetch: FetchId,
        /// The providers. Empty if none was found or the lookup failed.
        contacts: Vec<Contact>,
        /// Whether enough replicas confirmed that there is no announcement.
        absent: bool,
    },
    /// The addresses of this node changed: all announcements are renewed.
    Relocated,
    /// An announcement was stored at the replicas, or failed.
    Announced {
        /// The announced root.
        root: BlobId,
        /// Whether it succeeded.
        done: bool,
    },
    /// A source answered which granules it has, or why it has none.
    Holds {
        /// The question.
        ask: AskId,
        /// The answer.
        holding: Result<Holding, Refusal>,
        /// The time that the answer took, if it is a measure of the path.
        round_trip: Option<Duration>,
    },
    /// A source did not answer a question.
    AskFailed {
        /// The question.
        ask: AskId,
    },
    /// Some bytes of a transfer arrived. While bytes arrive, this comes at least every half second.
    Moved {
        /// The transfer.
        transfer: TransferId,
    },
    /// A granule was received, verified and stored.
    Granule {
        /// The transfer.
        transfer: TransferId,
        /// The granule.
        granule: u32,
    },
    /// A transfer ended.
    Ended {
        /// The transfer.
        transfer: TransferId,
        /// The result.
        end: TransferEnd,
    },
    /// The failure detector declared this node dead, so its transfers end.
    PeerGone(PublicKey),
    /// Another node asks which granules this node has.
    AskedHave {
        /// Identifies the question in the answer.
        serve: ServeId,
        /// The asking node.
        from: Contact,
        /// The blob.
        blob: BlobId,
        /// The most bytes of the answer.
        budget: usize,
    },
    /// Another node opened a stream to fetch granules.
    AskedFetch {
        /// Identifies the stream in the answer.
        serve: ServeId,
        /// The asking node.
        from: PublicKey,
        /// The blob.
        blob: BlobId,
    },
    /// A stream that was served or waited has ended.
    Served {
        /// The question or stream.
        serve: ServeId,
    },
    /// The announced deadline came.
    Timeout,
}

/// Why a fetch failed. The received granules are kept; a new fetch continues with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No node that has the blob was found, or all of them failed.
    #[error("no node that has it could be reached")]
    NoSource,
    /// A node that shared it reports that its files have changed, and no other node has it.
    #[error("the file changed at its source since it was shared; no other node gives it")]
    Changed,
    /// A node that shared it reports that it no longer shares it, and no other node has it.
    #[error("its source does not share it any more; no other node gives it")]
    Unshared,
    /// A node that shared it reports an error of its disk, and no other node has it.
    #[error("its source cannot read it from its disk; no other node gives it")]
    Unreadable,
    /// It is not announced: enough replicas confirmed that several times in a row.
    #[error("no node of this network shares it")]
    Unknown,
    /// There is no disk space for it.
    #[error("there is no room for it")]
    NoPlace,
    /// Too many fetches at once.
    #[error("too many fetches are under way")]
    Busy,
    /// It was cancelled.
    #[error("the fetch was given up")]
    Cancelled,
}

/// The results of a fetch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchReport {
    /// Verified bytes from each source that sent any.
    pub sources: Vec<(Contact, u64)>,
    /// Bytes that were received twice.
    pub duplicate_bytes: u64,
    /// Sources that sent data that did not verify.
    pub corrupt_sources: usize,
    /// Times that a source was replaced because others are faster.
    pub slow_sources: usize,
}

/// Most sources in a view of a fetch.
pub const FULL_SOURCES_MAX: usize = 8;

/// The state of a fetch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FetchView {
    /// The size of the blob in bytes, if it is known.
    pub size: Option<u64>,
    /// Stored bytes.
    pub bytes: u64,
    /// The number of known sources, and of those that are sending now.
    pub sources: (usize, usize),
    /// Sources that have the complete blob, at most [`FULL_SOURCES_MAX`], the nearest first.
    pub full: Vec<Contact>,
    /// The results so far.
    pub report: FetchReport,
}

/// An output.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Finds nodes that provide `root`; answered by [`Input::Providers`].
    FindProviders {
        /// The fetch.
        fetch: FetchId,
        /// The root.
        root: BlobId,
    },
    /// Announces that this node provides `root`; answered by [`Input::Announced`].
    Announce {
        /// The root.
        root: BlobId,
        /// Whether this node has the complete blob.
        complete: bool,
    },
    /// Requests the next roots of the round over all shared roots; answered by [`Input::Roots`].
    MoreRoots {
        /// The largest number of entries.
        max: usize,
    },
    /// Looks up whether this node has a complete blob and may serve it; answered by [`Input::Checked`].
    Check {
        /// The blob.
        blob: BlobId,
    },
    /// Asks a node which granules of a blob it has; answered by [`Input::Holds`] or [`Input::AskFailed`].
    AskHave {
        /// Identifies the question in the answer.
        ask: AskId,
        /// The node.
        to: Contact,
        /// The blob.
        blob: BlobId,
        /// Whether the answer does not fit in a datagram.
        large: bool,
    },
    /// Creates the place for a blob of this size; answered by [`Input::Opened`] or [`Input::NoPlace`]. May
    /// come again with another size while no granule was verified.
    Open {
        /// The fetch.
        fetch: FetchId,
        /// The blob.
        blob: BlobId,
        /// Its size, as a source claims.
        size: u64,
        /// The name and times that a source with that size gave.
        hint: Option<Hint>,
    },
    /// Requests granules from a source, verifies and stores each; reported by [`Input::Granule`] and
    /// [`Input::Ended`].
    Transfer {
        /// Identifies the transfer in the inputs.
        transfer: TransferId,
        /// The fetch.
        fetch: FetchId,
        /// The source.
        from: Contact,
        /// The blob.
        blob: BlobId,
        /// Its size.
        size: u64,
        /// The granules, in this order.
        granules: Vec<u32>,
    },
    /// Cancels a transfer. Nothing more is reported of it.
    CancelTransfer {
        /// The transfer.
        transfer: TransferId,
    },
    /// A fetch has all granules.
    Completed {
        /// The fetch.
        fetch: FetchId,
        /// Its results.
        report: FetchReport,
    },
    /// A fetch ended without all granules.
    Failed {
        /// The fetch.
        fetch: FetchId,
        /// The error.
        error: FetchError,
        /// Its results.
        report: FetchReport,
    },
    /// Answers [`Input::AskedHave`].
    Holding {
        /// The question.
        serve: ServeId,
        /// The granules that this node has.
        answer: Result<Holding, Refusal>,
    },
    /// Serves this stream; reported by [`Input::Served`] when it ends.
    Serve {
        /// The question or stream.
        serve: ServeId,
    },
    /// Ends this stream without serving it.
    Refuse {
        /// The question or stream.
        serve: ServeId,
        /// The reason.
        reason: Refusal,
    },
}
