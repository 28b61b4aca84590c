//! Records: envelopes, shares, operations, lists of teams.

use bytes::Bytes;
use potluck_base::{Signature, UnixMillis};
use potluck_record::{Envelope, Kind, Operation, Reading, Share, SignedHead, State, TeamList};

use crate::outcome::Seen;
use crate::samples;

/// A whole envelope, a head alone, and the state that it makes with others.
pub(super) fn envelope(bytes: &[u8], seen: &mut Seen) {
    let bytes = Bytes::copy_from_slice(bytes);
    let head = seen.measured(|| SignedHead::decode(&bytes));
    seen.result("head", &head);
    if let Ok(head) = &head {
        assert_eq!(SignedHead::decode(&head.encode()).as_ref(), Ok(head));
    }
    // A head whose bytes alone were changed: the parts around it take them as they are.
    let head = SignedHead::parse(bytes.clone(), Signature::from_bytes([1; 64]));
    seen.note("bare head", &head);
    let envelope = seen.measured(|| Envelope::decode(&bytes));
    seen.result("envelope", &envelope);
    let Ok(envelope) = envelope else { return };
    let values: usize = envelope.values().map(|(_, value)| value.len()).sum();
    assert_eq!(values, envelope.head().payload_len());
    assert_eq!(Envelope::decode(&envelope.encode()).as_ref(), Ok(&envelope));
    seen.note("team list", &TeamList::of(&envelope));
    merged(envelope, seen);
}

fn merged(envelope: Envelope, seen: &mut Seen) {
    let others = samples::some_envelopes();
    let mut forth = State::new();
    let mut back = State::new();
    forth.merge(envelope.clone());
    for other in &others {
        forth.merge(other.clone());
    }
    for other in others.into_iter().rev() {
        back.merge(other);
    }
    back.merge(envelope);
    assert_eq!(forth.digest(), back.digest(), "the order of merging shows");
    let reading = Reading::of(&forth, UnixMillis(1_800_000_000_500));
    seen.note("reading", &reading);
}

/// The share of a counter, set or map, or an operation on one.
pub(super) fn share(bytes: &[u8], seen: &mut Seen) {
    let bytes = Bytes::copy_from_slice(bytes);
    for kind in [Kind::Counter, Kind::Set, Kind::Map] {
        let share = seen.measured(|| Share::decode(kind, &bytes));
        seen.result("share", &share);
        if let Ok(share) = share {
            assert_eq!(Share::decode(kind, &share.encode()), Ok(share));
        }
    }
    let operation = seen.measured(|| Operation::decode(&bytes));
    seen.result("operation", &operation);
    if let Ok(operation) = operation {
        assert_eq!(Operation::decode(&operation.encode()), Ok(operation));
    }
}

/// The list of a team's writers.
pub(super) fn team(bytes: &[u8], seen: &mut Seen) {
    let owner = samples::identity(1).public_key();
    let Some(list) = seen.measured(|| TeamList::decode(owner, bytes)) else { return };
    seen.accept("team", &list);
    assert_eq!(TeamList::decode(owner, &list.encode()), Some(list));
}

/// Samples for [`team`].
pub(super) fn team_samples() -> Vec<Vec<u8>> {
    let list = |writers: u8| TeamList {
        owner: samples::identity(1).public_key(),
        name: potluck_record::Name::new("builders").expect("a good name"),
        epoch: 7,
        writers: (2..2 + writers).map(|number| samples::identity(number).public_key()).collect(),
    };
    vec![list(0).encode(), list(3).encode(), list(20).encode()]
}
