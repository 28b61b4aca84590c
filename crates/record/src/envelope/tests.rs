use potluck_base::Admission;
use proptest::prelude::*;

use super::*;
use crate::{Merged, Reading, State, StateDigest};

mod limits;

fn network() -> NetworkId {
    NetworkId::new("test", Admission::Lab, None)
}

fn identity(number: u8) -> Identity {
    Identity::from_seed([number; 32])
}

fn draft(values: &[(u64, &'static [u8])], dot: u64, context: Context) -> Draft {
    let end = UnixMillis(10_000);
    Draft {
        space: Space::Commons,
        name: Some(Name::new("n").expect("good name")),
        kind: Kind::Siblings,
        values: values
            .iter()
            .map(|(dot, bytes)| (Dot::from_raw(*dot), end, Bytes::from_static(bytes)))
            .collect(),
        dot: Dot::from_raw(dot),
        context,
        expires: end,
        certificate: None,
    }
}

fn signed(writer: u8, draft: Draft) -> Envelope {
    Envelope::sign(&identity(writer), &network(), draft).expect("a good draft")
}

fn read(state: &State) -> Vec<Vec<u8>> {
    let mut values: Vec<_> =
        Reading::of(state, UnixMillis(1)).values.iter().map(|value| value.bytes.to_vec()).collect();
    values.sort();
    values
}

#[test]
fn an_envelope_round_trips_and_its_signature_holds() {
    let envelope = signed(1, draft(&[(1, b"one"), (2, b"two")], 2, Context::new()));
    let decoded = Envelope::decode(&envelope.encode()).expect("own bytes");
    assert_eq!(decoded, envelope);
    assert!(envelope.encode().len() <= envelope.encoded_len());
    assert_eq!(decoded.verify(&network()), Ok(()));
    let values: Vec<_> = decoded.values().map(|(_, bytes)| bytes).collect();
    assert_eq!(values, [Bytes::from_static(b"one"), Bytes::from_static(b"two")]);
    let head = SignedHead::decode(&envelope.head().encode()).expect("own bytes");
    assert_eq!(head.verify(&network()), Ok(()));
}

#[test]
fn a_signature_does_not_hold_in_another_network() {
    let envelope = signed(1, draft(&[(1, b"one")], 1, Context::new()));
    let other = NetworkId::new("other", Admission::Lab, None);
    assert_eq!(envelope.verify(&other), Err(KeyError::Signature));
}

#[test]
fn values_that_do_not_match_the_head_are_refused() {
    let envelope = signed(1, draft(&[(1, b"one")], 1, Context::new()));
    let head = envelope.head().clone();
    assert_eq!(Envelope::join(head, Bytes::from_static(b"two")), Err(EnvelopeError::Payload));
}

#[test]
fn only_the_owner_writes_to_an_own_space() {
    let mut foreign = draft(&[(1, b"x")], 1, Context::new());
    foreign.space = Space::Own(identity(2).public_key());
    let error = Envelope::sign(&identity(1), &network(), foreign).unwrap_err();
    assert!(matches!(error, DraftError::Rule(_)));
}

#[test]
fn content_lives_under_the_hash_of_its_value() {
    let mut content = draft(&[(1, b"dish")], 1, Context::new());
    content.space = Space::Content;
    content.name = None;
    let envelope = signed(1, content);
    assert_eq!(envelope.head().key(), Space::content_key(b"dish"));
}

#[test]
fn too_large_and_too_many_are_refused_before_signing() {
    let mut large = draft(&[], 1, Context::new());
    let value = Bytes::from(vec![0; VALUE_BYTES_MAX + 1]);
    large.values = vec![(Dot::from_raw(1), UnixMillis(10_000), value)];
    let error = Envelope::sign(&identity(1), &network(), large).unwrap_err();
    assert_eq!(error, DraftError::ValueTooLarge(VALUE_BYTES_MAX + 1));

    let mut many = draft(&[], 20, Context::new());
    many.values = (1..=9).map(|n| (Dot::from_raw(n), UnixMillis(1), Bytes::new())).collect();
    let error = Envelope::sign(&identity(1), &network(), many).unwrap_err();
    assert_eq!(error, DraftError::TooManyValues(8));
}

#[test]
fn a_write_supersedes_what_it_has_read_and_nothing_else() {
    let first = signed(1, draft(&[(1, b"a")], 1, Context::new()));
    let concurrent = signed(2, draft(&[(2, b"b")], 2, Context::new()));
    let mut state: State = [first.clone()].into_iter().collect();
    let seen = state.context();
    let second = signed(3, draft(&[(3, b"c")], 3, seen));
    state.merge(concurrent);
    state.merge(second);
    assert_eq!(read(&state), [b"b".to_vec(), b"c".to_vec()]);
    let merged = signed(1, draft(&[(4, b"bc")], 4, state.context()));
    assert_eq!(state.merge(merged), Merged::Newer);
    assert_eq!(read(&state), [b"bc".to_vec()]);
    let held = state.of(&identity(1).public_key()).expect("it wrote").head().id();
    assert_eq!(state.merge(first), Merged::Older(held));
    assert_eq!(held.dot, Dot::from_raw(4));
}

#[test]
fn a_tombstone_hides_what_it_covers() {
    let mut state: State =
        [signed(1, draft(&[(1, b"a")], 1, Context::new()))].into_iter().collect();
    let tombstone = signed(2, draft(&[], 2, state.context()));
    assert!(tombstone.head().is_tombstone());
    state.merge(tombstone);
    assert!(read(&state).is_empty());
}

#[test]
fn an_expired_value_does_not_let_the_old_one_return() {
    let mut state: State =
        [signed(1, draft(&[(1, b"old")], 1, Context::new()))].into_iter().collect();
    let mut short = draft(&[(2, b"short")], 2, state.context());
    short.values[0].1 = UnixMillis(100);
    state.merge(signed(2, short));
    assert_eq!(read(&state), [b"short".to_vec()]);
    assert!(Reading::of(&state, UnixMillis(101)).values.is_empty());
}

#[test]
fn last_write_wins_folds_to_one_and_mixed_kinds_come_back_together() {
    let lww = |writer, dot, bytes| {
        let mut draft = draft(&[(dot, bytes)], dot, Context::new());
        draft.kind = Kind::Lww;
        signed(writer, draft)
    };
    let mut state: State = [lww(1, 1, b"a"), lww(2, 2, b"b")].into_iter().collect();
    assert_eq!(read(&state), [b"b".to_vec()]);
    state.merge(signed(3, draft(&[(3, b"c")], 3, Context::new())));
    assert_eq!(read(&state), [b"b".to_vec(), b"c".to_vec()]);
}

#[test]
fn of_many_providers_the_newest_are_read() {
    let most = u64::from(crate::limits::PROVIDERS_MAX);
    let state: State = (1..=most + 5)
        .map(|number| {
            let mut provider = draft(&[(number, b"here")], number, Context::new());
            provider.space = Space::Provider;
            provider.kind = Kind::PerWriter;
            signed(number as u8, provider)
        })
        .collect();
    let read = Reading::of(&state, UnixMillis(1)).values;
    assert_eq!(read.len() as u64, most);
    assert_eq!(read.last().map(|value| value.dot), Some(Dot::from_raw(6)));
}

/// Seven writers with twenty invented entries each once made every merge of their key impossible, because the
/// union of their contexts had more entries than an envelope may have.
#[test]
fn contexts_full_of_invented_writers_do_not_stop_a_merge() {
    let invented = |from: u64| -> Context {
        let entry = |number: u64| {
            let mut key = [9; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            (PublicKey::from_bytes(key), Dot::from_raw(number + 1))
        };
        (from..from + 120).map(entry).collect()
    };
    let mut state: State = (1..=7u8)
        .map(|writer| signed(writer, draft(&[(900, b"v")], 900, invented(u64::from(writer) * 120))))
        .collect();
    let context = state.context();
    assert_eq!(context.to_string().parse(), Ok(context.clone()));
    assert!(context.floor() > Dot::ZERO);
    state.merge(signed(8, draft(&[(1_000, b"merged")], 1_000, context)));
    assert_eq!(read(&state), [b"merged".to_vec()]);
}

#[test]
fn the_certificate_of_the_writer_is_named_and_signed() {
    let mut named = draft(&[(1, b"v")], 1, Context::new());
    named.certificate = Some(CertificateHash::of(b"certificate"));
    let envelope = signed(1, named);
    let read = Envelope::decode(&envelope.encode()).expect("own bytes");
    assert_eq!(read.head().certificate(), Some(CertificateHash::of(b"certificate")));
    assert_eq!(read.verify(&network()), Ok(()));
}

/// Frozen bytes: a change here is a new version of envelopes (docs/protocol.md).
#[test]
fn the_bytes_of_an_envelope_are_frozen() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut context: Context =
        [(PublicKey::from_bytes([0x11; 32]), Dot::from_raw(9))].into_iter().collect();
    context.raise_floor(Dot::from_raw(5));
    let mut full = draft(&[(8, b"a")], 10, context);
    full.certificate = Some(CertificateHash([0x22; 16]));
    let envelope = signed(1, full);
    let key = hex(identity(1).public_key().as_bytes());
    let head = [
        "ab 0002 0102 02616e 0300 045820",
        &key,
        "050a 068183 08 01 192710 0783 05 5820",
        &"11".repeat(32),
        "09 08192710 095820",
        &hex(blake3::hash(b"a").as_bytes()),
        "0a50",
        &"22".repeat(16),
    ];
    assert_eq!(hex(envelope.head().bytes()), head.concat().replace(' ', ""));
    let whole = [
        format!("8358{:02x}", envelope.head().bytes().len()),
        hex(envelope.head().bytes()),
        "5840".to_owned(),
        hex(envelope.head().signature().as_bytes()),
        "4161".to_owned(),
    ];
    assert_eq!(hex(&envelope.encode()), whole.concat());
}

/// A pool of envelopes by few writers with overlapping contexts, equal dots included.
fn pool() -> Vec<Envelope> {
    let mut pool = Vec::new();
    for writer in 1..=3u8 {
        for dot in 1..=4u64 {
            let context = [(identity(writer % 3 + 1).public_key(), Dot::from_raw(dot / 2))]
                .into_iter()
                .filter(|(_, dot)| *dot > Dot::ZERO)
                .collect();
            pool.push(signed(writer, draft(&[(dot, b"v")], dot, context)));
        }
        pool.push(signed(writer, draft(&[(3, b"forked")], 3, Context::new())));
        pool.push(signed(writer, draft(&[], 4, Context::new())));
    }
    pool
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merge_is_commutative_associative_and_idempotent(
        left in prop::collection::vec(0usize..18, 0..8),
        right in prop::collection::vec(0usize..18, 0..8),
        swap in any::<bool>(),
    ) {
        let pool = pool();
        let state_of = |picks: &[usize]| -> State {
            picks.iter().map(|pick| pool[*pick].clone()).collect()
        };
        let mut once = state_of(&left);
        right.iter().for_each(|pick| { once.merge(pool[*pick].clone()); });
        // Any grouping, order and repetition of the same envelopes gives the same state.
        let (first, second) = if swap { (&right, &left) } else { (&left, &right) };
        let mut grouped = state_of(first);
        for envelope in state_of(second).iter().chain(state_of(first).iter()) {
            grouped.merge(envelope.clone());
        }
        prop_assert_eq!(&once, &grouped);
        prop_assert_eq!(once.digest(), grouped.digest());
        prop_assert_eq!(read(&once), read(&grouped));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Envelope::decode(&Bytes::from(bytes));
    }

    #[test]
    fn a_flipped_bit_is_refused(position in 0usize..1000, bit in 0u8..8) {
        let envelope = signed(1, draft(&[(1, b"one"), (2, b"two")], 2, Context::new()));
        let mut bytes = envelope.encode().to_vec();
        let position = position % bytes.len();
        bytes[position] ^= 1 << bit;
        let refused = match Envelope::decode(&Bytes::from(bytes)) {
            Err(_) => true,
            Ok(changed) => changed.verify(&network()).is_err(),
        };
        prop_assert!(refused);
    }
}
