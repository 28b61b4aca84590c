//! Signatures of large store requests: checked in portions, and up to the first bad one.

use std::time::Duration;

use bytes::Bytes;
use potluck_kv::Config;
use potluck_record::Envelope;
use potluck_wire::Request;

use crate::samples::{config, value};
use crate::script::{
    Given::{Asked, Until},
    Script, step,
};

/// Different envelopes, as many as asked for.
fn good(from: u8, count: u8) -> Vec<Bytes> {
    (0..count).map(|number| value(8, format!("{from}/{number}").leak()).encode()).collect()
}

/// The same, with well-formed signatures of another envelope.
fn forged(count: u8) -> Vec<Bytes> {
    let other = *value(8, "other").head().signature().as_bytes();
    let forge = |part: Bytes| -> Bytes {
        let envelope = Envelope::decode(&part).expect("an envelope");
        let signature = envelope.head().signature().as_bytes();
        let at = part.windows(64).position(|window| window == signature);
        let mut bytes = part.to_vec();
        let at = at.expect("the signature");
        bytes[at..at + 64].copy_from_slice(&other);
        bytes.into()
    };
    good(9, count).into_iter().map(forge).collect()
}

fn store(parts: Vec<Bytes>) -> Request {
    Request::Store { envelopes: parts, certificates: vec![] }
}

#[test]
fn the_first_bad_signature_ends_a_request() {
    let mut script = Script::replica();
    let told = script.give(Asked(1, store(forged(100))));
    assert!(told[0].starts_with("respond bad envelope, bad envelope"), "{told:?}");
    assert_eq!((told.len(), script.kv.stats().signatures_checked), (1, 1));
    assert_eq!(script.bills, [(1, true)]);
    // What the attack costs without the defence.
    let mut config = config();
    config.defences.priced_peers = false;
    let mut script = Script::with(true, config);
    script.give(Asked(1, store(forged(100))));
    assert_eq!(script.kv.stats().signatures_checked, 100);
}

#[test]
fn a_bad_signature_behind_good_ones_stores_none_of_them() {
    let parts = [good(1, 2), forged(1)].concat();
    let mut script = Script::replica();
    let told = script.give(Asked(1, store(parts)));
    assert_eq!(told, ["respond bad envelope, bad envelope, bad envelope"]);
    assert_eq!(script.bills, [(3, true)]);
}

#[test]
fn a_long_request_is_checked_in_portions_and_a_short_one_is_served_between() {
    let mut script = Script::replica();
    script.play([
        step("80 envelopes", Asked(1, store(good(1, 80))), &[]),
        step("one", Asked(2, store(good(2, 1))), &["merge replica: 2/0"]),
        step("a millisecond", Until(Duration::from_millis(1)), &[]),
    ]);
    assert_eq!(script.bills, [(32, false), (1, false), (32, false)]);
    let told = script.give(Until(Duration::from_millis(2)));
    assert_eq!(told.iter().filter(|told| told.starts_with("merge replica: 1/")).count(), 80);
    assert_eq!(script.bills[3..], [(16, false)]);
    assert_eq!(script.kv.stats().signatures_checked, 81, "none twice");
}

#[test]
fn a_bad_signature_far_behind_is_found_in_its_turn() {
    let parts = [good(1, 40), forged(60)].concat();
    let mut script = Script::replica();
    script.play([step("a hundred", Asked(1, store(parts)), &[])]);
    let told = script.give(Until(Duration::from_millis(1)));
    assert!(told[0].starts_with("respond bad envelope"));
    assert_eq!((told.len(), script.kv.stats().requests_active), (1, 0));
    assert_eq!(script.bills, [(32, false), (9, true)]);
}

#[test]
fn the_places_of_one_peer_are_limited() {
    let mut script = Script::with(true, Config { requests_max: 1000, ..config() });
    for number in 0..8 {
        assert_eq!(script.give(Asked(1, store(good(number, 40)))).len(), 0);
    }
    assert_eq!(script.give(Asked(1, store(good(9, 40)))), ["respond busy"]);
    assert_eq!(script.give(Asked(2, store(good(10, 40)))).len(), 0);
}

#[test]
fn results_are_not_forgotten_before_their_request_is_carried_out() {
    let mut script = Script::with(true, Config { requests_max: 10_000, ..config() });
    let large = |from: u8| {
        let parts = (0..5).flat_map(|part| good(10 * from + part, 200)).take(1000);
        store(parts.collect())
    };
    for from in 1..=3 {
        assert_eq!(script.give(Asked(from, large(from))).len(), 0);
        assert_eq!(script.give(Asked(from, large(from + 10))), ["respond busy"], "one of a peer");
    }
    assert_eq!(script.give(Asked(4, large(4))), ["respond busy"], "three in all");
    let mut merges = 0;
    for millis in 1..=200 {
        let told = script.give(Until(Duration::from_millis(millis)));
        merges += told.iter().filter(|told| told.starts_with("merge replica")).count();
    }
    assert_eq!((merges, script.kv.stats().signatures_checked), (3000, 3000), "none twice");
}
