//! The operations that the core requests from a store, and their replies. Pure data: `store` executes them on
//! disk, the simulator in memory.
//!
//! **Invariant:** a reply to a merge or removal means that it is durable. The executing code commits first
//! and replies then.

use bytes::Bytes;
use potluck_base::{Key, PublicKey, UnixMillis};

use crate::{
    CertificateHash, Envelope, EnvelopeId, Fingerprint, Merged, Name, NamedState, NamesQuery,
    Prefix, SignedHead, StateDigest,
};

/// Identifies the core's request that a reply belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// The role in which a node stores an envelope. The roles are separate, because a node must remember its own
/// writes even if other nodes are the replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// As a replica of the key: the newest envelope of each writer.
    Replica,
    /// As the writer: this node's own newest envelope for the key.
    Own,
}

/// The origin of an envelope that is merged, which decides about limits besides the merge rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeAs {
    /// The writer's node stores it. Refused if it would be a new writer beyond `writers_max`, or if it does
    /// not continue the writer's stored envelope (see [`crate::state::succeeds`]).
    Ingress {
        /// Most writers of the key.
        writers_max: u16,
        /// The time that decides which values have expired.
        now: UnixMillis,
    },
    /// Another holder has it, or it goes into the writer's own place. No limit applies, so that all holders
    /// reach the same state.
    Repair,
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub enum StorageOp {
    /// Merges an envelope into the state of its key, atomically. The caller has checked the signature.
    Merge {
        /// The envelope.
        envelope: Envelope,
        /// The place to merge into.
        place: Place,
        /// The origin of the envelope.
        how: MergeAs,
    },
    /// Takes back an envelope of this writer that every other replica refused: its row becomes the writer's
    /// previous envelope, or is removed. Does nothing if another envelope was stored meanwhile.
    TakeBack {
        /// The envelope's key.
        key: Key,
        /// Its writer.
        writer: PublicKey,
        /// The envelope to take back.
        envelope: EnvelopeId,
        /// The writer's previous envelope.
        previous: Option<Box<Envelope>>,
        /// The place to change.
        place: Place,
    },
    /// Reads all envelopes of a key.
    Load {
        /// The key.
        key: Key,
        /// The place to read from.
        place: Place,
    },
    /// Reads keys and digests in `from..=to` among the replicas, in the order of keys.
    Scan {
        /// First key.
        from: Key,
        /// Last key.
        to: Key,
        /// Most entries to return.
        limit: u32,
    },
    /// Reads one page of the names held as replica, in order, with the state of each.
    Names {
        /// The query.
        query: NamesQuery,
        /// The time that decides which values have expired.
        now: UnixMillis,
    },
    /// Computes the number of keys and the sum of digests over `from..=to` among the replicas, without
    /// provider records.
    Fingerprint {
        /// First key.
        from: Key,
        /// Last key.
        to: Key,
    },
    /// Reads the heads of this node's own envelopes, in the order of keys.
    ScanOwn {
        /// First key.
        from: Key,
        /// Most rows to read.
        limit: u32,
    },
    /// The same for each of these ranges, in one snapshot.
    Fingerprints {
        /// The ranges.
        prefixes: Vec<Prefix>,
    },
    /// Reads keys and digests in these ranges among the replicas, in the order of keys, without provider
    /// records.
    Entries {
        /// The ranges, ascending and without overlap.
        prefixes: Vec<Prefix>,
        /// Only keys after this one.
        after: Option<Key>,
        /// Most entries to return.
        limit: u32,
    },
    /// Continues to build the index of fingerprints, which a store builds after it is opened.
    Index {
        /// Most keys to read.
        limit: u32,
    },
    /// Drops a replica of a key if its digest is this one, because other nodes hold the same state.
    Drop {
        /// The key.
        key: Key,
        /// The digest of its state.
        digest: StateDigest,
    },
    /// Drops envelopes whose life has ended at `now`, in both places.
    Expire {
        /// The time to compare with.
        now: UnixMillis,
        /// Most envelopes to drop at once.
        limit: u32,
    },
    /// Stores certificates of writers under their hashes, and drops others.
    KeepCertificates {
        /// Signed bytes.
        keep: Vec<Bytes>,
        /// The certificates to drop.
        drop: Vec<CertificateHash>,
    },
    /// Reads one page of the stored certificates, in the order of their hashes.
    ScanCertificates {
        /// Only certificates after this one.
        after: Option<CertificateHash>,
        /// Most to return.
        limit: u32,
    },
    /// Removes a key's envelopes, because they were handed over or must make room.
    Remove {
        /// The key.
        key: Key,
        /// The place to remove from.
        place: Place,
    },
}

/// Why an operation was not executed. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StorageFailure {
    /// The disk, or the part of it that this node may use, is full. Operations succeed again when there is
    /// room.
    #[error("no space left for records")]
    Full,
    /// A disk error stopped the store: nothing is acknowledged until the node is restarted.
    #[error("the store stopped after a disk error")]
    Stopped,
    /// The bytes on disk are not what was written.
    #[error("a stored record is damaged")]
    Corrupt,
    /// Damage was found on the disk, and the store is writing its readable rows anew. Operations succeed
    /// again after that.
    #[error("the store is being healed after damage on the disk")]
    Healing,
    /// The writer has used up its share of this store, or of the places for writers in it. Only when a
    /// writer's node stores.
    #[error("the writer's share of the store is used up")]
    Quota,
}

/// The reply to one operation.
#[derive(Debug, Clone, PartialEq)]
pub enum StorageReply {
    /// The merge is durable.
    Merged {
        /// The outcome.
        outcome: Merged,
        /// The digest of the key's state after it.
        digest: StateDigest,
    },
    /// The key has too many writers already; nothing changed.
    TooManyWriters,
    /// The envelopes of the key, by writer. Empty if the key is not stored.
    Loaded {
        /// The envelopes.
        envelopes: Vec<Envelope>,
    },
    /// One page of keys.
    Scanned {
        /// Keys with their state's digests, ascending.
        entries: Vec<(Key, StateDigest)>,
        /// Whether the page ended at the limit. The next page starts after its last key.
        more: bool,
    },
    /// One page of names.
    Names {
        /// The state of each name, including deleted ones.
        entries: Vec<NamedState>,
        /// The last name that was read, if there may be more after it.
        next: Option<Name>,
    },
    /// The fingerprint of a range.
    Fingerprint {
        /// The number of keys.
        keys: u64,
        /// The sum of their digests.
        sum: StateDigest,
    },
    /// One page of own heads, ascending by key. Rows that cannot be read are left out.
    OwnHeads {
        /// The heads.
        heads: Vec<SignedHead>,
        /// The first key that was not read; `None` at the end.
        next: Option<Key>,
    },
    /// The fingerprints of the requested ranges, in their order.
    Fingerprints(Vec<Fingerprint>),
    /// Keys were added to the index of fingerprints.
    Indexed {
        /// Whether keys are left: repeat the operation. Until then fingerprints are summed key by key.
        more: bool,
    },
    /// One page of certificates. Empty as the reply to storing certificates, which are durable now.
    Certificates {
        /// Their signed bytes.
        certificates: Vec<Bytes>,
        /// The last one that was read, if there are more.
        next: Option<CertificateHash>,
    },
    /// Expired envelopes were dropped.
    Expired {
        /// Their number.
        dropped: u32,
        /// Whether the limit ended the operation: repeat it.
        more: bool,
    },
    /// The key, or the envelope, is no longer stored.
    Removed,
    /// The digest of the key's state differs from the named one, so the state stays.
    Kept,
    /// The operation was not executed.
    Failed(StorageFailure),
}
