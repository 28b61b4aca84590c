//! Reading what a replica said it holds, without believing it.
//!
//! What comes from a replica is held to the same rules as what a writer's node stores: a genuine
//! signature is not enough, since a writer can sign a context that covers all of another's future.

use bytes::Bytes;
use potluck_base::{Key, UnixMillis};
use potluck_record::{Envelope, HasHead, SignedHead, State};

use crate::core::Core;
use crate::serve::{is_admissible, is_ahead};

/// What a node holds, as far as it is genuine and within the rules.
#[derive(Debug, Clone)]
pub(crate) struct Held<E> {
    pub(crate) state: State<E>,
    /// Whether something was left out because it is dated further ahead than clocks may differ.
    pub(crate) ahead: bool,
}

impl<E: HasHead> Held<E> {
    /// What this node's own store holds. It was judged when it came in: if it looks dated ahead
    /// now, it is this node's clock that went back.
    pub(crate) fn local(envelopes: impl IntoIterator<Item = E>, wall: UnixMillis) -> Self {
        let state: State<E> = envelopes.into_iter().collect();
        let ahead = state.iter().any(|envelope| is_ahead(envelope.signed_head(), wall));
        Self { state, ahead }
    }
}

/// The genuine envelopes among `parts`, all for `key`; `None` if any part is not, since then the
/// answer as a whole is worth nothing.
pub(crate) fn envelopes(
    core: &mut Core,
    wall: UnixMillis,
    key: &Key,
    parts: &[Bytes],
) -> Option<Held<Envelope>> {
    read(core, wall, key, parts, |bytes| Envelope::decode(bytes).ok())
}

/// The genuine heads among `parts`, all for `key`; `None` if any part is not.
pub(crate) fn heads(
    core: &mut Core,
    wall: UnixMillis,
    key: &Key,
    parts: &[Bytes],
) -> Option<Held<SignedHead>> {
    read(core, wall, key, parts, |bytes| SignedHead::decode(bytes).ok())
}

fn read<E: HasHead>(
    core: &mut Core,
    wall: UnixMillis,
    key: &Key,
    parts: &[Bytes],
    decode: impl Fn(&Bytes) -> Option<E>,
) -> Option<Held<E>> {
    let (mut state, mut ahead) = (State::new(), false);
    for part in parts {
        let genuine = decode(part).filter(|envelope| {
            envelope.signed_head().key() == *key && core.is_genuine(envelope.signed_head())
        });
        let Some(envelope) = genuine else {
            core.stats.answers_bad += 1;
            return None;
        };
        ahead |= is_ahead(envelope.signed_head(), wall);
        if is_admissible(core, envelope.signed_head(), wall) {
            state.merge(envelope);
        }
    }
    Some(Held { state, ahead })
}
