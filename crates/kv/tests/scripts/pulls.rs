//! Pulls: the keys of an offer that this node wants, and how it asks for them.

use std::time::Duration;

use potluck_base::Key;
use potluck_kv::Input;
use potluck_record::{Envelope, Merged, Place, StateDigest, StorageFailure, StorageReply};
use potluck_wire::{Refusal, Response};

use crate::holder::{holder, load, offer, other_key};
use crate::samples::{digest, envelope, key, old, page, peer, value};
use crate::script::{
    Given::{
        Answers, Asked, Fails, Merges, Other, Outcome, Page, RefusesAll, Scans, Silent, Until,
    },
    Script, step,
};

const NONE: &[&str] = &[];

#[test]
fn offered_keys_that_this_node_lacks_are_pulled() {
    let old = || vec![value(8, "old")];
    let entries = [(key(), digest(&old())), (other_key(1), digest(&old()))];
    let mut script = holder();
    script.play([
        step("offered", Asked(1, offer(&entries)), &["scan", "scan"]),
        step("nothing there", Scans(vec![]), NONE),
        step(
            "the second is here",
            Scans(vec![(other_key(1), digest(&old()))]),
            &["respond 1 wanted", "ask 1 for a page"],
        ),
        step("pulled", Page(1, page(&old(), 1)), &["merge replica: old"]),
    ]);
    let stats = script.kv.stats();
    assert_eq!((stats.keys_pulled, stats.pulls_waiting, stats.answers_bad), (1, 0, 0));
}

#[test]
fn a_key_whose_row_is_damaged_is_pulled_from_two_other_replicas() {
    let old = || vec![value(8, "old")];
    let mut script = holder();
    script.play([
        step("asked", Asked(3, load(vec![key()])), &["load replica"]),
        step(
            "its row is damaged",
            Fails(Place::Replica, StorageFailure::Corrupt),
            &["ask 1 for a page", "ask 2 for a page", "respond 0 envelopes, 1 keys"],
        ),
        step("the first has it", Page(1, page(&old(), 1)), &["merge replica: old"]),
        step("it is whole again", Merges(Place::Replica), NONE),
        step("the second lacks it", Page(2, page(&[], 0)), &["call 2 for a page"]),
        step("and says so", Page(2, page(&[], 0)), NONE),
    ]);
    let stats = script.kv.stats();
    assert_eq!((stats.heals_asked, stats.keys_pulled, stats.pulls_waiting), (2, 1, 0));
    // A store that is being healed as a whole asks no other node: it would ask for every key that is read.
    script.play([
        step("asked", Asked(3, load(vec![key()])), &["load replica"]),
        step(
            "being healed",
            Fails(Place::Replica, StorageFailure::Healing),
            &["respond 0 envelopes, 1 keys"],
        ),
    ]);
}

#[test]
fn a_source_that_fails_three_times_is_given_up() {
    let wanted = |script: &mut Script| {
        script.give(Asked(1, offer(&[(key(), digest(&[value(8, "old")]))])));
        assert_eq!(script.give(Scans(vec![])), ["respond 1 wanted", "ask 1 for a page"]);
    };
    let mut script = holder();
    wanted(&mut script);
    script.play([
        step("silent", Silent(1), &["call 1 for a page"]),
        step("refused", RefusesAll(1, Refusal::Busy), &["call 1 for a page"]),
        step(
            "a strange key",
            Page(
                1,
                page(
                    &[envelope(8, "x", |draft| {
                        draft.name = Some(potluck_record::Name::new("b").expect("a name"));
                    })],
                    1,
                ),
            ),
            NONE,
        ),
    ]);
    assert_eq!(script.kv.stats().pulls_waiting, 0);
    let mut script = holder();
    wanted(&mut script);
    script.play([
        step("nothing fits a datagram", Page(1, page(&[], 0)), &["call 1 for a page"]),
        step("it does not hold the key", Page(1, page(&[], 0)), NONE),
    ]);
    let stats = script.kv.stats();
    assert_eq!((stats.pulls_waiting, stats.answers_bad), (0, 0));
}

#[test]
fn a_record_in_parts_is_pulled_in_the_order_of_writers() {
    let state: potluck_record::State = [value(7, "one"), value(8, "two")].into_iter().collect();
    let all: Vec<Envelope> = state.iter().cloned().collect();
    let wanted = || {
        let mut script = holder();
        script.give(Asked(1, offer(&[(key(), digest(&all))])));
        script.give(Scans(vec![]));
        assert_eq!(script.give(Page(1, page(&all[..1], 0))).len(), 2, "a merge and a request");
        script
    };
    let mut script = wanted();
    assert_eq!(script.give(Page(1, page(&all[1..], 1))).len(), 1);
    assert_eq!(script.kv.stats().pulls_waiting, 0);
    let mut script = wanted();
    assert_eq!(script.give(Page(1, page(&all[..1], 0))), ["call 1 for the next page"]);
    assert_eq!(script.kv.stats().answers_bad, 1);
}

#[test]
fn what_this_node_holds_beyond_an_offer_is_offered_back_once() {
    let old = vec![value(8, "old")];
    let more = digest(&[value(8, "old"), value(7, "more")]);
    let merged =
        || Outcome(Place::Replica, StorageReply::Merged { outcome: Merged::Equal, digest: more });
    let mut script = holder();
    for time in [1, 2] {
        script.give(Asked(1, offer(&[(key(), digest(&old))])));
        script.give(Scans(vec![]));
        script.give(Page(1, page(&old, 1)));
        script.give(merged());
        let told = script.give(Until(Duration::from_secs(2 * time)));
        let offers = told.iter().filter(|text| *text == "ask 1 to pull 1").count();
        assert_eq!(offers, usize::from(time == 1), "{told:?}");
        if offers == 1 {
            script.give(Answers(1, Response::Offered { wanted: 0 }));
        }
    }
}

#[test]
fn more_keys_than_two_datagrams_hold_are_pulled_by_a_call() {
    for (count, asked) in [(1, "ask"), (56, "ask"), (57, "call")] {
        let keys: Vec<(Key, StateDigest)> =
            (1..=count).map(|number| (other_key(number), digest(&old()))).collect();
        let mut script = holder();
        assert_eq!(script.give(Asked(1, offer(&keys))).len(), usize::from(count));
        for _ in 1..count {
            assert_eq!(script.give(Scans(vec![])), NONE);
        }
        let told = script.give(Scans(vec![]));
        assert_eq!(told, [format!("respond {count} wanted"), format!("{asked} 1 for a page")]);
        assert_eq!(script.kv.stats().pulls_waiting, usize::from(count));
    }
}

#[test]
fn an_offer_is_checked_64_keys_at_a_time() {
    let keys: Vec<(Key, StateDigest)> =
        (1..=70).map(|number| (other_key(number), digest(&old()))).collect();
    let mut script = holder();
    assert_eq!(script.give(Asked(1, offer(&keys))), vec!["scan"; 64]);
    assert_eq!(script.kv.stats().requests_active, 1);
    for _ in 0..6 {
        assert_eq!(script.give(Scans(vec![])), ["scan"]);
    }
}

#[test]
fn keys_that_this_node_is_far_from_are_not_pulled() {
    let entry = |key| [(key, digest(&old()))];
    let wanted = |script: &mut Script, key| {
        script.give(Asked(1, offer(&entry(key))));
        script.give(Scans(vec![]))[0].clone()
    };
    let mut far = *key().as_bytes();
    far[0] ^= 0xff;
    let far = Key::from_bytes(far);
    let mut nodes: Vec<u8> = (0..=8).collect();
    nodes.sort_by_key(|place| peer(*place).distance(&far));
    let place = nodes.iter().position(|place| *place == 0).expect("this node");
    assert!(place >= 6, "beyond two replica sets");
    let mut script = Script::replica();
    script.give(Other(Input::CloseGroup((1..=8).map(peer).collect())));
    assert_eq!(wanted(&mut script, key()), "respond 1 wanted");
    assert_eq!(wanted(&mut script, far), "respond 0 wanted");
}
