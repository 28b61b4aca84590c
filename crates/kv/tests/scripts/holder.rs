//! The holder's side: storing, finding, loading, offers of changes, and the hand-over of a leaving node.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::Key;
use potluck_kv::{Config, Input, PeerRequest, ServeId};
use potluck_record::{Envelope, Merged, Place, StateDigest, StorageFailure, StorageReply};
use potluck_wire::{Contacts, Load, OfferEntry, Request, Response, Want};

use crate::samples::{MINUTE, config, dated, digest, envelope, key, peer, store, value};
use crate::script::{
    Given::{Answers, Asked, Fails, Loads, Merges, Other, Outcome, Scans, Silent, Until},
    Script, step,
};

const NONE: &[&str] = &[];

pub(crate) fn offer(keys: &[(Key, StateDigest)]) -> Request {
    let entries = keys.iter().map(|(key, digest)| OfferEntry { key: *key, digest: *digest });
    Request::Offer { entries: entries.collect() }
}

pub(crate) fn load(keys: Vec<Key>) -> Request {
    Request::Load(Load { keys, after: None, certificates: vec![] })
}

fn find(want: Want) -> Request {
    Request::FindNode { target: key(), count: 8, want, parts: None }
}

/// A replica that knows its close group, a second after the beginning.
pub(crate) fn holder() -> Script {
    holder_with(config())
}

/// The same with these parameters.
pub(crate) fn holder_with(config: Config) -> Script {
    let mut script = Script::with(true, config);
    script.give(Other(Input::CloseGroup((1..=4).map(peer).collect())));
    script.play([
        step("it repairs", Until(Duration::from_secs(1)), &["scan"]),
        step("it holds nothing", Scans(vec![]), NONE),
    ]);
    script
}

/// The key with this first byte beside the one of the scripts.
pub(crate) fn other_key(number: u8) -> Key {
    let mut bytes = *key().as_bytes();
    bytes[31] ^= number;
    Key::from_bytes(bytes)
}

#[test]
fn what_is_stored_is_told_when_it_is_durable() {
    let held = value(8, "old").head().id();
    let digest = StateDigest::EMPTY;
    let older = StorageReply::Merged { outcome: Merged::Older(held), digest };
    let forked = StorageReply::Merged { outcome: Merged::Forked(held), digest };
    for (case, outcome, told) in [
        ("stored", Merges(Place::Replica), "stored"),
        ("an older one", Outcome(Place::Replica, older), "older"),
        ("a fork", Outcome(Place::Replica, forked), "older"),
        (
            "too many writers",
            Outcome(Place::Replica, StorageReply::TooManyWriters),
            "too many \
          writers",
        ),
        ("no room", Fails(Place::Replica, StorageFailure::Full), "no space left"),
        ("over the share", Fails(Place::Replica, StorageFailure::Quota), "over the member's quota"),
        ("being healed", Fails(Place::Replica, StorageFailure::Healing), "busy"),
        ("damaged", Fails(Place::Replica, StorageFailure::Corrupt), "store stopped"),
        ("stopped", Fails(Place::Replica, StorageFailure::Stopped), "store stopped"),
    ] {
        let mut script = Script::replica();
        let told = format!("respond {told}");
        script.play([
            step("asked", Asked(1, store(&[value(8, "old")])), &["merge replica: old"]),
            step(case, outcome, &[&told]),
        ]);
        let taken = u64::from(told == "respond stored" || told == "respond older");
        let stats = script.kv.stats();
        assert_eq!((stats.envelopes_taken, stats.envelopes_refused), (taken, 1 - taken), "{case}");
    }
}

#[test]
fn several_envelopes_are_told_together_in_their_order() {
    let broken = Bytes::from_static(b"nothing");
    let mut script = Script::replica();
    let parts = vec![value(7, "one").encode(), broken, value(8, "two").encode()];
    let request = Request::Store { envelopes: parts, certificates: vec![] };
    script.play([
        step("asked", Asked(1, request), &["merge replica: one", "merge replica: two"]),
        step("the first", Merges(Place::Replica), NONE),
        step(
            "the second",
            Fails(Place::Replica, StorageFailure::Full),
            &["respond stored, bad envelope, no space left"],
        ),
    ]);
    assert_eq!(script.kv.stats().requests_active, 0);
}

#[test]
fn an_envelope_beyond_a_limit_of_time_or_not_signed_is_refused() {
    let lives = |end| envelope(8, "old", |draft| draft.expires = end);
    let life = config().life_max;
    let wall = crate::samples::WALL;
    let seen = |ahead| {
        let at = crate::samples::dot(wall.plus(ahead));
        let context = [(peer(3).contact.public_key, at)].into_iter().collect();
        envelope(8, "seen", |draft| draft.context = context).encode()
    };
    let forged = {
        let (one, two) = (value(8, "one"), value(8, "two"));
        let parts = (two.head().bytes().clone(), one.head().signature());
        let head = [&parts.0[..]].concat();
        assert_ne!(head, &one.head().bytes()[..]);
        let mut bytes = two.encode().to_vec();
        let at = bytes.windows(64).position(|window| window == two.head().signature().as_bytes());
        let at = at.expect("the signature");
        bytes[at..at + 64].copy_from_slice(parts.1.as_bytes());
        Bytes::from(bytes)
    };
    let table = [
        ("five minutes ahead", dated(8, "x", 5 * MINUTE).encode(), "merge replica: x"),
        (
            "more",
            dated(8, "x", 5 * MINUTE + Duration::from_millis(1)).encode(),
            "respond dated over \
          five minutes ahead",
        ),
        ("a context five minutes ahead", seen(5 * MINUTE), "merge replica: seen"),
        (
            "a context more",
            seen(5 * MINUTE + Duration::from_millis(1)),
            "respond dated over five minutes ahead",
        ),
        ("the longest life", lives(wall.plus(life + 5 * MINUTE)).encode(), "merge replica: old"),
        (
            "a longer one",
            lives(wall.plus(life + 5 * MINUTE + Duration::from_millis(1))).encode(),
            "respond life over or too long",
        ),
        (
            "its life is over",
            {
                envelope(8, "old", |draft| (draft.values[0].1, draft.expires) = (wall, wall))
                    .encode()
            },
            "respond life over or too long",
        ),
        ("not signed", forged, "respond bad envelope"),
    ];
    for (case, part, told) in table {
        let request = Request::Store { envelopes: vec![part], certificates: vec![] };
        Script::replica().play([step(case, Asked(1, request), &[told])]);
    }
}

#[test]
fn requests_that_this_node_does_not_serve_are_refused() {
    let told = |script: &mut Script, request| script.give(Asked(1, request)).concat();
    let entries = [(key(), StateDigest::EMPTY)];
    let mut client = Script::client();
    assert_eq!(told(&mut client, store(&[value(8, "old")])), "respond not serving");
    assert_eq!(told(&mut client, offer(&entries)), "respond not serving");
    assert_eq!(told(&mut client, Request::Ping), "respond not supported");
    let mut leaving = Script::replica();
    leaving.give(Other(Input::Leave));
    assert_eq!(told(&mut leaving, store(&[value(8, "old")])), "respond not serving");
    assert_eq!(told(&mut leaving, offer(&entries)), "respond not serving");
    assert_eq!(told(&mut leaving, load(vec![key()])), "load replica", "it hands over");
    let mut busy = Script::with(true, Config { requests_max: 1, ..config() });
    assert_eq!(told(&mut busy, load(vec![key()])), "load replica");
    assert_eq!(told(&mut busy, load(vec![key()])), "respond busy");
    assert_eq!(busy.kv.stats().requests_busy, 1);
    let mut script = Script::replica();
    for request in [store(&[value(8, "old")]), offer(&entries)] {
        let (from, contacts) = (peer(1), Contacts::default());
        let request = PeerRequest { from, request, contacts, proven: false, budget: 1200 };
        let given = Other(Input::PeerRequest { serve: ServeId(9), request });
        assert_eq!(script.give(given), ["respond address not proven"]);
    }
}

#[test]
fn an_answer_to_a_lookup_carries_the_record_if_it_fits() {
    let held = || vec![value(7, "one"), value(8, "two")];
    let answer = |want, budget, reply: Result<Vec<Envelope>, StorageFailure>| {
        let mut script = Script::replica();
        let (from, request, contacts) = (peer(1), find(want), Contacts::default());
        let request = PeerRequest { from, request, contacts, proven: false, budget };
        let given = Other(Input::PeerRequest { serve: ServeId(9), request });
        assert_eq!(script.give(given), ["load replica"]);
        let told = match reply {
            Ok(envelopes) => script.give(Loads(Place::Replica, envelopes)),
            Err(failure) => script.give(Fails(Place::Replica, failure)),
        };
        told.concat()
    };
    assert_eq!(answer(Want::Values, 1200, Ok(held())), "respond 2 parts, true");
    assert_eq!(answer(Want::Heads, 1200, Ok(held())), "respond 2 parts, true");
    assert_eq!(answer(Want::Nothing, 1200, Ok(held())), "respond 0 parts, true");
    let size: usize = held().iter().map(|one| one.encoded_len() + 3).sum();
    assert_eq!(answer(Want::Values, size + 64, Ok(held())), "respond 2 parts, true");
    assert_eq!(answer(Want::Values, size + 63, Ok(held())), "respond 0 parts, false");
    let heads: usize = held().iter().map(|one| one.head().bytes().len() + 80).sum();
    assert_eq!(answer(Want::Heads, heads + 64, Ok(held())), "respond 2 parts, true");
    assert_eq!(answer(Want::Heads, heads + 63, Ok(held())), "respond 0 parts, false");
    assert_eq!(answer(Want::Values, 1200, Err(StorageFailure::Corrupt)), "respond no record");
}

#[test]
fn a_load_answers_as_many_keys_as_fit() {
    let mut script = holder();
    let keys = vec![key(), other_key(1), other_key(2)];
    script.play([
        step("asked", Asked(1, load(keys)), &["load replica"]),
        step("the first", Loads(Place::Replica, vec![value(8, "one")]), &["load replica"]),
        step("nothing there", Loads(Place::Replica, vec![]), &["load replica"]),
        step(
            "damaged",
            Fails(Place::Replica, StorageFailure::Corrupt),
            &["ask 1 for a page", "ask 2 for a page", "respond 1 envelopes, 3 keys"],
        ),
        step("no key", Asked(1, load(vec![])), &["respond 0 envelopes, 0 keys"]),
    ]);
    assert_eq!(script.kv.stats().keys_served, 3);
    let large = || {
        let bytes = Bytes::from(vec![b'x'; 500]);
        (6..=8)
            .map(|writer| envelope(writer, "", |draft| draft.values[0].2 = bytes.clone()))
            .collect::<Vec<_>>()
    };
    script.play([
        step("asked", Asked(1, load(vec![key(), other_key(1)])), &["load replica"]),
        step(
            "a part of the first key fits",
            Loads(Place::Replica, large()),
            &["respond 1 envelopes, 0 keys"],
        ),
        step("asked", Asked(1, load(vec![key(), other_key(1)])), &["load replica"]),
        step("one fits", Loads(Place::Replica, large()[..1].to_vec()), &["load replica"]),
        step(
            "the next key does not",
            Loads(Place::Replica, large()),
            &["respond 1 envelopes, 1 keys"],
        ),
    ]);
}

#[test]
fn a_changed_record_is_offered_to_its_replicas() {
    let mut script = holder();
    script.play([
        step("a change", Asked(3, store(&[value(8, "old")])), &["merge replica: old"]),
        step("it is durable", Merges(Place::Replica), &["respond stored"]),
        step(
            "a little later",
            Until(Duration::from_secs(4)),
            &["ask 1 to pull 1", "ask 2 to pull 1"],
        ),
        step("one lacks it", Answers(1, Response::Offered { wanted: 1 }), NONE),
        step("one is silent", Silent(2), NONE),
        step("it is offered again", Until(Duration::from_secs(9)), &["ask 2 to pull 1"]),
    ]);
    assert_eq!(script.kv.stats().offers_waiting, 1);
}

#[test]
fn a_leaving_node_hands_its_keys_over() {
    let leaves = || {
        let mut script = holder();
        script.play([
            step("it leaves", Other(Input::Leave), &["scan"]),
            step(
                "it holds one key",
                Scans(vec![(key(), digest(&[value(8, "old")]))]),
                &["ask 3 to pull 1"],
            ),
            step("the node that replaces it", Answers(3, Response::Offered { wanted: 1 }), NONE),
        ]);
        script
    };
    let mut script = leaves();
    script.play([
        step("it pulls", Asked(3, load(vec![key()])), &["load replica"]),
        step(
            "the last key",
            Loads(Place::Replica, vec![value(8, "old")]),
            &["respond 1 envelopes, 1 keys", "handed 1 over"],
        ),
        step("once", Until(Duration::from_secs(7)), NONE),
    ]);
    let mut script = leaves();
    script.play([
        step("again", Other(Input::Leave), NONE),
        step("no node pulls", Until(Duration::from_micros(5_999_999)), NONE),
        step("the time is over", Until(Duration::from_secs(6)), &["handed 0 over"]),
    ]);
    let mut client = Script::client();
    client.play([step(
        "a client has nothing to hand over",
        Other(Input::Leave),
        &["handed 0 over"],
    )]);
}
