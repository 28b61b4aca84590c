//! What the core asks of a store, and what the store answers. Pure data: `store` carries it out on
//! disk, the simulator in memory.
//!
//! **Invariant:** an answer to a merge or removal means that it is durable. The code that executes the
//! operations commits first and answers then.

use bytes::Bytes;
use potluck_base::{Key, PublicKey, UnixMillis};

use crate::{
    CertificateHash, Envelope, EnvelopeId, Fingerprint, Merged, Name, NamedState, NamesQuery,
    Prefix, SignedHead, StateDigest,
};

/// Which of the core's requests an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// In which role a node keeps an envelope. The two are kept apart: what a node wrote it must
/// remember also where others are the replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// As one of the replicas of the key: the newest envelope per writer.
    Replica,
    /// As the writer: this node's own newest envelope for the key.
    Own,
}

/// How an envelope came to be merged, and so what it is held to besides the merge rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeAs {
    /// Its writer's node asks for it. Refused if it would be a new writer beyond `writers_max`, or
    /// if it does not succeed the writer's one that is kept (see [`crate::state::succeeds`]).
    Ingress {
        /// Most writers of the key.
        writers_max: u16,
        /// The time by which values have expired.
        now: UnixMillis,
    },
    /// Another holder has it, or it is the writer's own place: held to nothing else, so that all
    /// holders come to the same state.
    Repair,
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub enum StorageOp {
    /// Merges an envelope into the state of its key: read, decide, write as one. The signature was
    /// checked before.
    Merge {
        /// The envelope.
        envelope: Envelope,
        /// Where to.
        place: Place,
        /// How it came.
        how: MergeAs,
    },
    /// A writer takes back an envelope of its own that every other replica refused: its row becomes
    /// that of the writer's envelope before it, or is removed. Does nothing if another envelope is
    /// kept meanwhile.
    TakeBack {
        /// The envelope's key.
        key: Key,
        /// Its writer.
        writer: PublicKey,
        /// Which one.
        envelope: EnvelopeId,
        /// The writer's envelope before it.
        previous: Option<Box<Envelope>>,
        /// Where from.
        place: Place,
    },
    /// All envelopes of a key.
    Load {
        /// The key.
        key: Key,
        /// Where from.
        place: Place,
    },
    /// Keys and their digests in `from..=to` among the replicas, in order of keys.
    Scan {
        /// First key.
        from: Key,
        /// Last key.
        to: Key,
        /// Most entries to return.
        limit: u32,
    },
    /// One page of the names held as a replica, in order, and what is held under each.
    Names {
        /// Which names.
        query: NamesQuery,
        /// The time by which values have expired.
        now: UnixMillis,
    },
    /// Count and sum of digests over `from..=to` among the replicas, provider records left out.
    Fingerprint {
        /// First key.
        from: Key,
        /// Last key.
        to: Key,
    },
    /// The heads of this node's own envelopes, in order of keys.
    ScanOwn {
        /// First key.
        from: Key,
        /// Most rows to read.
        limit: u32,
    },
    /// The same for each of these ranges, from one moment.
    Fingerprints {
        /// The ranges.
        prefixes: Vec<Prefix>,
    },
    /// Keys and their digests in these ranges among the replicas, in order of keys, provider records
    /// left out.
    Entries {
        /// The ranges, which ascend and share no key.
        prefixes: Vec<Prefix>,
        /// Only keys behind this one.
        after: Option<Key>,
        /// Most entries to return.
        limit: u32,
    },
    /// Goes on with the index of fingerprints, which a store makes anew after it is opened.
    Index {
        /// Most keys to read.
        limit: u32,
    },
    /// Drops a key's envelopes as replica if its digest is this one, because others keep the same state.
    Drop {
        /// The key.
        key: Key,
        /// The digest of its state.
        digest: StateDigest,
    },
    /// Drops envelopes whose life is over at `now`, in both places.
    Expire {
        /// The time to compare with.
        now: UnixMillis,
        /// Most envelopes to drop in one go.
        limit: u32,
    },
    /// Keeps certificates of writers under their hashes, and drops others.
    KeepCertificates {
        /// Signed bytes.
        keep: Vec<Bytes>,
        /// Those to be dropped.
        drop: Vec<CertificateHash>,
    },
    /// One page of the certificates that are kept, in the order of their hashes.
    ScanCertificates {
        /// Only those behind this one.
        after: Option<CertificateHash>,
        /// Most to return.
        limit: u32,
    },
    /// Drops a key's envelopes: handed over, or evicted for room.
    Remove {
        /// The key.
        key: Key,
        /// Where from.
        place: Place,
    },
}

/// Why an operation was not done. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StorageFailure {
    /// The disk, or the share of it that this node may use, is full. Goes on when there is room.
    #[error("no space left for records")]
    Full,
    /// A disk error stopped the store: nothing is acknowledged until the node is restarted.
    #[error("the store stopped after a disk error")]
    Stopped,
    /// The bytes on disk are not what was written.
    #[error("a stored record is damaged")]
    Corrupt,
    /// Damage on the disk was met, and the store is being written anew without it. Goes on after that.
    #[error("the store is being healed after damage on the disk")]
    Healing,
    /// The writer has its share of this store, or of the writers' places in it. Only at ingress.
    #[error("the writer's share of the store is used up")]
    Quota,
}

/// The answer to one operation.
#[derive(Debug, Clone, PartialEq)]
pub enum StorageReply {
    /// The merge is durable.
    Merged {
        /// What it did.
        outcome: Merged,
        /// The digest of the key's state with it.
        digest: StateDigest,
    },
    /// The key has too many writers already; nothing changed.
    TooManyWriters,
    /// The envelopes found, by writer; none if the key is not here.
    Loaded {
        /// The envelopes.
        envelopes: Vec<Envelope>,
    },
    /// One page of keys.
    Scanned {
        /// Keys with their state's digests, ascending.
        entries: Vec<(Key, StateDigest)>,
        /// Whether the page ended at the limit: go on behind its last key.
        more: bool,
    },
    /// One page of names.
    Names {
        /// What is held under each, also where that is a deletion.
        entries: Vec<NamedState>,
        /// The last name that was looked at, if there may be more behind it.
        next: Option<Name>,
    },
    /// The sum over a range.
    Fingerprint {
        /// How many keys.
        keys: u64,
        /// Sum of their digests.
        sum: StateDigest,
    },
    /// One page of own heads, ascending by key. Rows that cannot be read are left out.
    OwnHeads {
        /// The heads.
        heads: Vec<SignedHead>,
        /// The first key that was not read; `None` at the end.
        next: Option<Key>,
    },
    /// The sums over the ranges asked for, in their order.
    Fingerprints(Vec<Fingerprint>),
    /// Keys were read into the index of fingerprints.
    Indexed {
        /// Whether some are left: ask again. Until then fingerprints are added up key by key.
        more: bool,
    },
    /// One page of certificates; none where some were to be kept, which are durable now.
    Certificates {
        /// Their signed bytes.
        certificates: Vec<Bytes>,
        /// The last one that was read, if there are more.
        next: Option<CertificateHash>,
    },
    /// Expired envelopes are gone.
    Expired {
        /// How many.
        dropped: u32,
        /// Whether the limit ended it: ask again.
        more: bool,
    },
    /// The key, or the envelope, is not here any more.
    Removed,
    /// The key's state is another one than was named; it stays.
    Kept,
    /// Not done.
    Failed(StorageFailure),
}
