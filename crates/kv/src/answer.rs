//! Decoding and checking the envelopes that a replica claims to hold.
//!
//! Envelopes from a replica must pass the same checks as those that a writer's node stores. A valid
//! signature is not enough: a writer can sign a context that covers all future writes of another.

use bytes::Bytes;
use potluck_base::{Key, UnixMillis};
use potluck_record::{Envelope, HasHead, SignedHead, State};

use crate::admissible::{is_admissible, is_future_dated};
use crate::core::Core;

/// The genuine and admissible envelopes that one node holds.
#[derive(Debug, Clone)]
pub(crate) struct ReplicaAnswer<E> {
    pub(crate) state: State<E>,
    /// Whether an envelope was dropped because it is dated further ahead than clocks may differ.
    pub(crate) future_dated: bool,
    /// Whether one of the dropped future-dated envelopes is this node's own.
    pub(crate) own_future_dated: bool,
}

impl<E: HasHead> ReplicaAnswer<E> {
    /// The envelopes of this node's own store. They were checked when they were stored. One that is
    /// future-dated now was stored while this node's clock ran ahead, and says nothing about the time.
    pub(crate) fn local(envelopes: impl IntoIterator<Item = E>) -> Self {
        Self {
            state: envelopes.into_iter().collect(),
            future_dated: false,
            own_future_dated: false,
        }
    }
}

/// The genuine envelopes for `key` in `parts`; `None` if any part is not one, because then the whole
/// answer is discarded.
pub(crate) fn envelopes(
    core: &mut Core,
    wall: UnixMillis,
    key: &Key,
    parts: &[Bytes],
) -> Option<ReplicaAnswer<Envelope>> {
    read(core, wall, key, parts, |bytes| Envelope::decode(bytes).ok())
}

/// The genuine heads for `key` in `parts`; `None` if any part is not one.
pub(crate) fn heads(
    core: &mut Core,
    wall: UnixMillis,
    key: &Key,
    parts: &[Bytes],
) -> Option<ReplicaAnswer<SignedHead>> {
    read(core, wall, key, parts, |bytes| SignedHead::decode(bytes).ok())
}

fn read<E: HasHead>(
    core: &mut Core,
    wall: UnixMillis,
    key: &Key,
    parts: &[Bytes],
    decode: impl Fn(&Bytes) -> Option<E>,
) -> Option<ReplicaAnswer<E>> {
    let (mut state, mut future_dated, mut own_future_dated) = (State::new(), false, false);
    let me = core.identity.public_key();
    for part in parts {
        let genuine = decode(part).filter(|envelope| {
            envelope.signed_head().key() == *key && core.is_genuine(envelope.signed_head())
        });
        let Some(envelope) = genuine else {
            core.stats.answers_bad += 1;
            return None;
        };
        let early = is_future_dated(envelope.signed_head(), wall);
        future_dated |= early;
        own_future_dated |= early && envelope.signed_head().writer() == me;
        if is_admissible(&core.config, envelope.signed_head(), wall) {
            state.merge(envelope);
        }
    }
    Some(ReplicaAnswer { state, future_dated, own_future_dated })
}
