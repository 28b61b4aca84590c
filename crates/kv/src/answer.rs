//! Reading what a replica said it holds, without believing it.

use bytes::Bytes;
use potluck_base::Key;
use potluck_record::{Envelope, HasHead, SignedHead, State};

use crate::core::Core;

/// The genuine envelopes among `parts`, all for `key`; `None` if any part is not, since then the
/// answer as a whole is worth nothing.
pub(crate) fn envelopes(core: &mut Core, key: &Key, parts: &[Bytes]) -> Option<State<Envelope>> {
    read(core, key, parts, |bytes| Envelope::decode(bytes).ok())
}

/// The genuine heads among `parts`, all for `key`; `None` if any part is not.
pub(crate) fn heads(core: &mut Core, key: &Key, parts: &[Bytes]) -> Option<State<SignedHead>> {
    read(core, key, parts, |bytes| SignedHead::decode(bytes).ok())
}

fn read<E: HasHead>(
    core: &mut Core,
    key: &Key,
    parts: &[Bytes],
    decode: impl Fn(&Bytes) -> Option<E>,
) -> Option<State<E>> {
    let mut state = State::new();
    for part in parts {
        let genuine = decode(part).filter(|envelope| {
            envelope.signed_head().key() == *key && core.is_genuine(envelope.signed_head())
        });
        let Some(envelope) = genuine else {
            core.stats.answers_bad += 1;
            return None;
        };
        state.merge(envelope);
    }
    Some(state)
}
