//! Decoding and checking the envelopes that a replica claims to hold.
//!
//! Envelopes from a replica must pass the same checks as those that a writer's node stores. A valid
//! signature is not enough: a writer can sign a context that covers all future writes of another.

use bytes::Bytes;
use potluck_base::{Key, UnixMillis};
use potluck_record::{Envelope, HasHead, SignedHead, State, StateDigest};
use potluck_wire::Want;

use crate::admissible::{is_admissible, is_future_dated};
use crate::core::Core;
use crate::membership::Standing;

/// The genuine and admissible envelopes that one node holds.
#[derive(Debug, Clone)]
pub(crate) struct ReplicaAnswer<E> {
    pub(crate) state: State<E>,
    /// Envelopes of writers that were put out. They count if another node holds them too.
    pub(crate) doubtful: Vec<E>,
    /// Whether an envelope was dropped because it is dated further ahead than clocks may differ.
    pub(crate) future_dated: bool,
    /// Whether one of the dropped future-dated envelopes is this node's own.
    pub(crate) own_future_dated: bool,
}

impl<E: HasHead> ReplicaAnswer<E> {
    /// The digest of all that the node holds.
    pub(crate) fn digest(&self) -> StateDigest {
        let doubtful = self.doubtful.iter().map(HasHead::signed_head);
        doubtful.fold(self.state.digest(), StateDigest::with)
    }
}

/// The part of an envelope that an answer carries: all of it, or its signed head.
pub(crate) trait Part: HasHead + Clone {
    /// The request for it.
    const WANT: Want;
    /// Whether a complete answer is read although its digest is that of the merged state. Heads are
    /// small, and those of this node's own store are verified by it.
    const READS_KNOWN: bool;

    /// The part in these bytes.
    fn decode(bytes: &Bytes) -> Option<Self>;

    /// The part of a whole envelope.
    fn of(envelope: Envelope) -> Self;
}

impl Part for Envelope {
    const WANT: Want = Want::Values;
    const READS_KNOWN: bool = false;

    fn decode(bytes: &Bytes) -> Option<Self> {
        Self::decode(bytes).ok()
    }

    fn of(envelope: Envelope) -> Self {
        envelope
    }
}

impl Part for SignedHead {
    const WANT: Want = Want::Heads;
    const READS_KNOWN: bool = true;

    fn decode(bytes: &Bytes) -> Option<Self> {
        Self::decode(bytes).ok()
    }

    fn of(envelope: Envelope) -> Self {
        envelope.head().clone()
    }
}

/// The genuine envelopes or heads for `key` in `parts`; `None` if any part is not one, because then the
/// whole answer is discarded.
pub(crate) fn read<E: Part>(
    core: &mut Core,
    wall: UnixMillis,
    key: &Key,
    parts: &[Bytes],
) -> Option<ReplicaAnswer<E>> {
    let (mut state, mut future_dated, mut own_future_dated) = (State::new(), false, false);
    let mut doubtful = Vec::new();
    let me = core.identity.public_key();
    for part in parts {
        let decoded = E::decode(part).filter(|envelope| envelope.signed_head().key() == *key);
        let standing = decoded.as_ref().map(|envelope| core.standing(envelope.signed_head()));
        if let Some(Standing::Stranger | Standing::Unknown(_)) = standing {
            // It counts for nothing; the other envelopes may be good.
            core.stats.refused_not_member += 1;
            continue;
        }
        let genuine = decoded.filter(|envelope| core.is_genuine(envelope.signed_head()));
        let Some(envelope) = genuine else {
            core.stats.answers_bad += 1;
            return None;
        };
        let early = is_future_dated(envelope.signed_head(), wall);
        future_dated |= early;
        own_future_dated |= early && envelope.signed_head().writer() == me;
        if is_admissible(&core.config, envelope.signed_head(), wall) {
            match standing {
                Some(Standing::Excluded) => doubtful.push(envelope),
                Some(Standing::Member | Standing::Stranger | Standing::Unknown(_)) | None => {
                    state.merge(envelope);
                }
            }
        }
    }
    Some(ReplicaAnswer { state, doubtful, future_dated, own_future_dated })
}
