use bytes::Bytes;
use potluck_base::{Identity, NetworkId};

use super::*;
use crate::{Context, Draft, Envelope};

const NOW: UnixMillis = UnixMillis(1_000);

struct Spec<'a> {
    writer: u8,
    dot: u64,
    kind: Kind,
    values: &'a [(&'a str, u64)],
    context: Context,
}

fn network() -> NetworkId {
    NetworkId::new("t", potluck_base::Admission::Lab, None)
}

fn name() -> Name {
    Name::new("n").expect("a name")
}

fn signed(spec: Spec<'_>) -> Envelope {
    let first = spec.dot + 1 - spec.values.len() as u64;
    let values = spec.values.iter().enumerate().map(|(index, (value, expires))| {
        let dot = Dot::from_raw(first + index as u64);
        (dot, UnixMillis(*expires), Bytes::copy_from_slice(value.as_bytes()))
    });
    let draft = Draft {
        space: Space::Commons,
        name: Some(name()),
        kind: spec.kind,
        values: values.collect(),
        dot: Dot::from_raw(spec.dot),
        context: spec.context,
        expires: UnixMillis(9_000),
        certificate: None,
    };
    Envelope::sign(&Identity::from_seed([spec.writer; 32]), &network(), draft).expect("signed")
}

fn value(writer: u8, dot: u64, text: &str) -> Envelope {
    let values = [(text, 8_000)];
    let context = Context::new();
    signed(Spec { writer, dot, kind: Kind::Siblings, values: &values, context })
}

fn deletion(writer: u8, dot: u64, of: &Envelope) -> Envelope {
    let mut context = Context::new();
    context.cover(of.head().writer(), of.head().dot());
    signed(Spec { writer, dot, kind: Kind::Siblings, values: &[], context })
}

fn shown(envelopes: &[&Envelope]) -> NamedState {
    let state: State = envelopes.iter().map(|envelope| (*envelope).clone()).collect();
    NamedState::of(name(), &state, NOW).expect("something lives")
}

#[test]
fn a_space_is_found_by_its_parts_and_no_other() {
    let owner = Identity::from_seed([1; 32]).public_key();
    let team = Space::Team(TeamId::of(&owner, "a"));
    let owned = [Space::Own(owner), Space::Writers(owner), team];
    for space in [Space::Content, Space::Commons, Space::Provider].into_iter().chain(owned) {
        let (number, owner) = space.to_parts();
        assert_eq!(Space::from_parts(number, owner), Some(space));
    }
    let bytes = Some(*owner.as_bytes());
    assert_eq!(Space::from_parts(1, None), None, "an own space has an owner");
    assert_eq!(Space::from_parts(2, bytes), None);
    assert_eq!(Space::from_parts(9, None), None);
}

#[test]
fn siblings_are_counted_and_other_kinds_fold_to_one_value() {
    let (one, two) = (value(1, 5, "four"), value(2, 7, "three"));
    let both = shown(&[&one, &two]);
    assert_eq!((both.values, both.bytes, both.newest), (2, 9, Dot::from_raw(7)));
    assert_eq!((both.dots, both.expires), (12, UnixMillis(8_000)));
    let lww = |writer, dot| {
        let values = [("x", 8_000)];
        let context = Context::new();
        signed(Spec { writer, dot, kind: Kind::Lww, values: &values, context })
    };
    let folded = shown(&[&lww(1, 5), &lww(2, 7)]);
    assert_eq!((folded.values, folded.kind), (1, Kind::Lww));
}

#[test]
fn an_expired_value_is_no_value() {
    let values = [("old", 1_000), ("new", 1_001)];
    let context = Context::new();
    let kind = Kind::Siblings;
    let envelope = signed(Spec { writer: 1, dot: 5, kind, values: &values, context });
    assert_eq!(shown(&[&envelope]).values, 1);
    let state: State = [envelope].into_iter().collect();
    assert_eq!(NamedState::of(name(), &state, UnixMillis(9_000)), None);
}

#[test]
fn a_deletion_hides_the_value_that_a_stale_holder_has_in_either_order() {
    let put = value(1, 5, "x");
    let deleted = deletion(2, 9, &put);
    let (stale, current) = (shown(&[&put]), shown(&[&put, &deleted]));
    for [first, second] in [[&stale, &current], [&current, &stale]] {
        let mut merged = first.clone();
        merged.merge(second.clone());
        assert_eq!(merged, current);
        assert!(!merged.is_live());
    }
}

#[test]
fn the_state_that_has_all_of_the_other_wins_though_their_newest_envelope_is_one() {
    let (old, newest) = (value(1, 5, "x"), value(2, 9, "y"));
    let deleted = deletion(1, 6, &old);
    let (behind, ahead) = (shown(&[&old, &newest]), shown(&[&deleted, &newest]));
    let mut merged = behind.clone();
    merged.merge(ahead.clone());
    assert_eq!((merged.clone(), merged.values), (ahead, 1));
    merged.merge(behind);
    assert_eq!(merged.values, 1);
}
