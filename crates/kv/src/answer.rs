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
    /// Whether some of that is this node's own.
    pub(crate) own_ahead: bool,
}

impl<E: HasHead> Held<E> {
    /// What this node's own store holds. It was judged when it came in. What looks dated ahead now
    /// came in when this node's clock ran ahead, and is no witness of the time.
    pub(crate) fn local(envelopes: impl IntoIterator<Item = E>) -> Self {
        Self { state: envelopes.into_iter().collect(), ahead: false, own_ahead: false }
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
    let (mut state, mut ahead, mut own_ahead) = (State::new(), false, false);
    let me = core.identity.public_key();
    for part in parts {
        let genuine = decode(part).filter(|envelope| {
            envelope.signed_head().key() == *key && core.is_genuine(envelope.signed_head())
        });
        let Some(envelope) = genuine else {
            core.stats.answers_bad += 1;
            return None;
        };
        let early = is_ahead(envelope.signed_head(), wall);
        ahead |= early;
        own_ahead |= early && envelope.signed_head().writer() == me;
        if is_admissible(core, envelope.signed_head(), wall) {
            state.merge(envelope);
        }
    }
    Some(Held { state, ahead, own_ahead })
}
