//! Each limit and rule of a head and an envelope, from both sides. The encodings of a hostile writer are made
//! from the fields of a good head, because [`Envelope::sign`] refuses most of them.

use potluck_base::PublicKey;

use super::*;
use crate::limits::{CONTEXT_ENTRIES_MAX, HEAD_BYTES_MAX};
use crate::state::supersedes;

/// The fields of a good head with one value at dot 1.
fn fields() -> Fields {
    let good = signed(1, draft(&[(1, b"one")], 1, Context::new()));
    minicbor::decode(good.head().bytes()).expect("own bytes")
}

fn parse(fields: &Fields) -> Result<SignedHead, EnvelopeError> {
    let bytes = minicbor::to_vec(fields).expect("writing to memory cannot fail");
    SignedHead::parse(bytes.into(), Signature::from_bytes([0; 64]))
}

fn with(change: impl FnOnce(&mut Fields)) -> Result<SignedHead, EnvelopeError> {
    let mut fields = fields();
    change(&mut fields);
    parse(&fields)
}

fn entry(dot: u64, bytes: usize) -> ValueEntry {
    ValueEntry::new(Dot::from_raw(dot), bytes as u32, UnixMillis(10_000))
}

/// Fields with values of these lengths.
fn of_lengths(lengths: &[usize]) -> Result<SignedHead, EnvelopeError> {
    with(|fields| {
        fields.values = (1..).zip(lengths).map(|(dot, bytes)| entry(dot, *bytes)).collect();
        fields.dot = lengths.len() as u64 + 1;
    })
}

fn is_rule(outcome: &Result<SignedHead, EnvelopeError>) -> bool {
    matches!(outcome, Err(EnvelopeError::Rule(_)))
}

#[test]
fn values_are_limited_in_number_length_and_sum() {
    for (lengths, limit) in [
        (vec![1; VALUES_MAX], None),
        (vec![1; VALUES_MAX + 1], Some("values")),
        (vec![1; VALUES_MAX + 2], Some("values")),
        (vec![VALUE_BYTES_MAX], None),
        (vec![VALUE_BYTES_MAX + 1], Some("value bytes")),
        (vec![1, VALUE_BYTES_MAX + 2], Some("value bytes")),
        (vec![u32::MAX as usize; VALUES_MAX], Some("value bytes")),
        (vec![PAYLOAD_BYTES_MAX / 2; 2], None),
        (vec![PAYLOAD_BYTES_MAX / 2, PAYLOAD_BYTES_MAX / 2, 1], Some("payload bytes")),
        (vec![PAYLOAD_BYTES_MAX / 2, PAYLOAD_BYTES_MAX / 2, 2], Some("payload bytes")),
    ] {
        let outcome = of_lengths(&lengths).map(|head| head.payload_len());
        let wanted =
            limit.map_or_else(|| Ok(lengths.iter().sum()), |l| Err(EnvelopeError::Limit(l)));
        assert_eq!(outcome, wanted, "{lengths:?}");
    }
}

#[test]
fn the_dots_of_values_ascend_up_to_that_of_the_envelope() {
    let dots = |dots: &[u64], own: u64| {
        let values: Vec<_> = dots.iter().map(|dot| entry(*dot, 1)).collect();
        with(|fields| (fields.values, fields.dot) = (values, own))
    };
    for (values, own) in [(&[1, 2][..], 2), (&[1, 2], 3), (&[7], 7), (&[], 1)] {
        assert!(dots(values, own).is_ok(), "{values:?} below {own}");
    }
    for (values, own) in
        [(&[2, 2][..], 2), (&[2, 1], 2), (&[1, 3, 2], 3), (&[1, 3], 2), (&[8], 7), (&[], 0)]
    {
        assert!(is_rule(&dots(values, own)), "{values:?} below {own}");
    }
}

#[test]
fn no_value_outlives_its_envelope() {
    for (end, good) in [(9_999, false), (10_000, true), (10_001, true)] {
        let outcome = with(|fields| fields.expires_ms = end);
        assert_eq!(
            (outcome.is_ok(), is_rule(&outcome)),
            (good, !good),
            "the envelope ends at {end}"
        );
    }
}

#[test]
fn content_has_one_value_and_neither_name_nor_context() {
    let content = |change: fn(&mut Fields)| {
        with(|fields| {
            fields.space = 0;
            fields.name.clear();
            change(fields);
        })
    };
    assert!(content(|_| {}).is_ok());
    let changes: [fn(&mut Fields); 4] = [
        |fields| fields.name = "named".to_owned(),
        |fields| fields.values.clear(),
        |fields| {
            fields.values.push(entry(2, 1));
            fields.dot = 2;
        },
        |fields| fields.context.cover(identity(2).public_key(), Dot::from_raw(1)),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        assert!(is_rule(&content(change)), "change {index}");
    }
}

#[test]
fn a_kind_of_their_own_is_for_provider_records_alone() {
    let of = |space: u8, kind: Kind| with(|f| (f.space, f.kind) = (space, kind.number()));
    assert!(of(3, Kind::PerWriter).is_ok());
    assert!(of(2, Kind::Siblings).is_ok() && of(2, Kind::Lww).is_ok());
    assert!(is_rule(&of(3, Kind::Siblings)) && is_rule(&of(2, Kind::PerWriter)));
    assert!(is_rule(&of(1, Kind::PerWriter)) && is_rule(&of(4, Kind::Siblings)));
}

#[test]
fn names_are_good_names_in_heads_too() {
    for (name, good) in [("n".repeat(512), true), ("n".repeat(513), false), (String::new(), false)]
    {
        let outcome = with(|fields| fields.name.clone_from(&name));
        assert_eq!((outcome.is_ok(), is_rule(&outcome)), (good, !good), "{} bytes", name.len());
    }
}

#[test]
fn heads_and_envelopes_are_limited_in_bytes() {
    // An unknown field, which is skipped, fills the head up to the wanted length.
    let head_of = |length: usize| {
        let mut bytes = minicbor::to_vec(fields()).expect("writing to memory cannot fail");
        bytes[0] += 1;
        bytes.extend([0x18, 99, 0x59]);
        let rest = length - bytes.len() - 2;
        bytes.extend((rest as u16).to_be_bytes());
        bytes.resize(length, 0);
        SignedHead::parse(bytes.into(), Signature::from_bytes([0; 64]))
            .map(|head| head.bytes().len())
    };
    assert_eq!(head_of(HEAD_BYTES_MAX), Ok(HEAD_BYTES_MAX));
    for length in [HEAD_BYTES_MAX + 1, HEAD_BYTES_MAX + 2] {
        assert_eq!(head_of(length), Err(EnvelopeError::Limit("head bytes")), "{length}");
    }
    let envelope_of = |length: usize| Envelope::decode(&vec![0; length].into());
    assert_eq!(envelope_of(ENVELOPE_BYTES_MAX), Err(EnvelopeError::Malformed));
    for length in [ENVELOPE_BYTES_MAX + 1, ENVELOPE_BYTES_MAX + 2] {
        assert_eq!(envelope_of(length), Err(EnvelopeError::Limit("envelope bytes")), "{length}");
    }
}

#[test]
fn what_is_signed_keeps_the_same_limits() {
    let of_lengths = |lengths: &[usize]| {
        let mut draft = draft(&[], lengths.len() as u64, Context::new());
        let value = |(dot, bytes): (u64, &usize)| {
            (Dot::from_raw(dot), UnixMillis(10_000), Bytes::from(vec![7; *bytes]))
        };
        draft.values = (1..).zip(lengths).map(value).collect();
        Envelope::sign(&identity(1), &network(), draft).map(|envelope| envelope.payload.len())
    };
    let (half, most) = (PAYLOAD_BYTES_MAX / 2, VALUE_BYTES_MAX);
    for (lengths, wanted) in [
        (vec![most], Ok(most)),
        (vec![most + 1], Err(DraftError::ValueTooLarge(most + 1))),
        (vec![most + 2], Err(DraftError::ValueTooLarge(most + 2))),
        (vec![half, half], Ok(PAYLOAD_BYTES_MAX)),
        (vec![half, half, 1], Err(DraftError::TooManyValues(2))),
        (vec![half, half, half], Err(DraftError::TooManyValues(2))),
        (vec![1; VALUES_MAX], Ok(VALUES_MAX)),
        (vec![1; VALUES_MAX + 1], Err(DraftError::TooManyValues(VALUES_MAX))),
        (vec![1; VALUES_MAX + 2], Err(DraftError::TooManyValues(VALUES_MAX + 1))),
    ] {
        assert_eq!(of_lengths(&lengths), wanted, "{} values", lengths.len());
    }
}

#[test]
fn a_context_is_read_up_to_its_most_entries() {
    let text = |entries: usize| {
        let writer = |number: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&(number as u64).to_be_bytes());
            PublicKey::from_bytes(key)
        };
        let context: Context =
            (0..entries).map(|number| (writer(number), Dot::from_raw(1))).collect();
        let bytes = minicbor::to_vec(context).expect("writing to memory cannot fail");
        minicbor::decode::<Context>(&bytes).map(|context| context.len()).ok()
    };
    assert_eq!(text(CONTEXT_ENTRIES_MAX), Some(CONTEXT_ENTRIES_MAX));
    assert_eq!([text(CONTEXT_ENTRIES_MAX + 1), text(CONTEXT_ENTRIES_MAX + 2)], [None, None]);
}

#[test]
fn the_highest_dot_of_a_context_is_that_of_any_writer() {
    assert_eq!(Context::new().highest(), Dot::ZERO);
    let context: Context = [(1, 3), (2, 7), (3, 5)]
        .map(|(writer, dot)| (identity(writer).public_key(), Dot::from_raw(dot)))
        .into_iter()
        .collect();
    assert_eq!(context.highest(), Dot::from_raw(7));
}

/// An envelope of a writer with one value that ends before the envelope does.
fn ending(writer: u8, value_ends: u64, ends: u64) -> Envelope {
    let mut draft = draft(&[(1, b"v")], 1, Context::new());
    draft.values[0].1 = UnixMillis(value_ends);
    draft.expires = UnixMillis(ends);
    signed(writer, draft)
}

#[test]
fn what_ends_now_is_over() {
    let state: State = [ending(1, 100, 200), ending(2, 150, 300)].into_iter().collect();
    for (now, live) in [(99, 2), (100, 1), (149, 1), (150, 0)] {
        assert_eq!(state.live(UnixMillis(now)).len(), live, "values at {now}");
    }
    for (now, left) in [(199, 2), (200, 1), (299, 1), (300, 0)] {
        let mut state = state.clone();
        state.expire(UnixMillis(now));
        assert_eq!(state.len(), left, "envelopes at {now}");
    }
    assert_eq!(state.last_expiry(), UnixMillis(300));
    assert_eq!(State::<Envelope>::new().last_expiry(), UnixMillis(0));
}

#[test]
fn an_envelope_supersedes_older_ones_and_never_itself() {
    let old = signed(1, draft(&[(1, b"old")], 1, Context::new()));
    let new = signed(1, draft(&[(2, b"new")], 2, Context::new()));
    let forks = [b"a", b"b"].map(|value| signed(1, draft(&[(3, value)], 3, Context::new())));
    assert!(supersedes(new.head(), old.head()) && !supersedes(old.head(), new.head()));
    assert!(!supersedes(old.head(), old.head()));
    let [a, b] = &forks;
    assert_ne!(supersedes(a.head(), b.head()), supersedes(b.head(), a.head()), "all choose alike");
    let mut state: State = [old.clone()].into_iter().collect();
    assert_eq!(state.merge(old.clone()), Merged::Equal);
    assert_eq!(state.merge(new), Merged::Newer);
    assert!(matches!(state.merge(old), Merged::Older(_)));
}

#[test]
fn a_digest_without_a_head_is_that_of_the_others() {
    let (one, two) = (ending(1, 1, 1), ending(2, 1, 1));
    let only_two = StateDigest::EMPTY.with(two.head());
    let both = only_two.with(one.head());
    assert_eq!(both.without(one.head()), only_two);
    assert_ne!(both, only_two);
    assert_eq!(only_two.without(two.head()), StateDigest::EMPTY);
}

#[test]
fn heads_are_equal_if_bytes_and_signature_are() {
    let head = signed(1, draft(&[(1, b"one")], 1, Context::new())).head().clone();
    let unsigned = SignedHead::parse(head.bytes().clone(), Signature::from_bytes([0; 64]));
    assert_ne!(unsigned, Ok(head.clone()), "another signature");
    let other = with(|fields| fields.dot = 5)
        .and_then(|other| SignedHead::parse(other.bytes().clone(), *head.signature()));
    assert_ne!(other, Ok(head.clone()), "other bytes");
    assert_eq!(SignedHead::decode(&head.encode()), Ok(head));
}
