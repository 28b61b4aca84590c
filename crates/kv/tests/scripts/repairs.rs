//! Repair of replica sets: which holder offers a key to which node, and when.

use std::time::Duration;

use potluck_base::{Instant, Key, Machine as _, Peer};
use potluck_kv::{Config, Input, Settings};
use potluck_record::{Place, StateDigest, StorageFailure, StorageReply};
use potluck_wire::Response;

use crate::samples::{config, digest, key, old, peer, store};
use crate::script::{
    Given::{Answers, Asked, FailsToScan, Merges, Other, Scans, ScansMore, Silent, Until},
    Script, step,
};

const NONE: &[&str] = &[];

/// A key for which the nodes 0 to 4 are in this order of distance.
fn key_of(order: &[u8]) -> Key {
    let nodes: Vec<(u8, Peer)> = (0..5).map(|place| (place, peer(place))).collect();
    let keys = (0..10_000_u64).map(|number| {
        let mut bytes = *key().as_bytes();
        bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        Key::from_bytes(bytes)
    });
    let mut fitting = keys.filter(|key| {
        let mut nodes = nodes.clone();
        nodes.sort_by_key(|(_, peer)| peer.distance(key));
        nodes.iter().zip(order).all(|((place, _), wanted)| place == wanted)
    });
    fitting.next().expect("a key with this order")
}

fn group(places: &[u8]) -> crate::script::Given {
    Other(Input::CloseGroup(places.iter().map(|place| peer(*place)).collect::<Vec<Peer>>()))
}

fn entries(keys: &[Key]) -> Vec<(Key, StateDigest)> {
    keys.iter().map(|key| (*key, digest(&old()))).collect()
}

fn at(seconds: u64) -> crate::script::Given {
    Until(Duration::from_secs(seconds))
}

/// A node that keeps records, and has repaired for a close group of these nodes.
fn settled(places: &[u8]) -> Script {
    let mut script = Script::replica();
    script.play([
        step("it meets them", group(places), NONE),
        step("a second later", at(1), &["scan"]),
        step("it holds nothing", Scans(vec![]), NONE),
    ]);
    script
}

#[test]
fn the_closest_holder_offers_to_a_newcomer_at_once_and_the_second_later() {
    let mut script = settled(&[2, 3, 4]);
    script.play([
        step("one comes", group(&[1, 2, 3, 4]), NONE),
        step("another change in the same second", group(&[1, 2, 3, 4]), NONE),
        step("a second later", at(2), &["scan"]),
        step("it is the closest", Scans(entries(&[key_of(&[0, 1, 2])])), &["ask 1 to pull 1"]),
    ]);
    let mut script = settled(&[1, 2, 4]);
    script.give(group(&[1, 2, 3, 4]));
    script.give(at(2));
    script.play([
        step("it is the second", Scans(entries(&[key_of(&[3, 4, 0])])), NONE),
        step("just before", Until(Duration::from_micros(4_999_999)), NONE),
        step("three seconds later", at(5), &["ask 3 to pull 1"]),
    ]);
    assert_eq!(script.kv.stats().keys_offered, 1);
}

#[test]
fn with_more_replicas_every_key_is_offered_to_its_whole_set_once() {
    let mut script = settled(&[1, 2, 3, 4]);
    let settings =
        Settings { replication: 4, life_default: config().life_default, republish_interval: None };
    let key = key_of(&[0, 1, 2, 3, 4]);
    script.play([
        step("the network has more replicas", Other(Input::Settings(settings)), NONE),
        step("at once", at(1), &["scan"]),
        step("it is the closest", Scans(entries(&[key])), NONE),
        step(
            "two seconds later",
            at(3),
            &["ask 1 to pull 1", "ask 2 to pull 1", "ask 3 to pull 1"],
        ),
    ]);
    let mut script = settled(&[1, 2, 3, 4]);
    script.give(Other(Input::Settings(settings)));
    script.play([
        step("at once", at(1), &["scan"]),
        step("there are more", ScansMore(entries(&[key_of(&[4, 3, 2, 1])])), NONE),
        step("a quarter of a second later", Until(Duration::from_millis(1250)), &["scan"]),
        step("that is all", Scans(vec![]), NONE),
        step("the same again", Other(Input::Settings(settings)), NONE),
        step(
            "no further scan; it holds what is not its own",
            at(9),
            &["ask 1 to pull 1", "ask 2 to pull 1", "ask 3 to pull 1", "ask 4 to pull 1"],
        ),
    ]);
}

#[test]
fn other_holders_do_not_offer() {
    for (case, before, after) in [
        ("the third of the set", vec![3, 4], vec![1, 3, 4]),
        ("one that is not of the set", vec![2, 3, 4], vec![1, 2, 3, 4]),
    ] {
        let mut script = settled(&before);
        script.give(group(&after));
        script.give(at(2));
        script.play([
            step(case, Scans(entries(&[key_of(&[4, 3, 1, 2, 0])])), NONE),
            step("later", at(9), NONE),
        ]);
    }
}

#[test]
fn when_one_of_the_two_that_offer_is_gone_the_whole_set_is_offered() {
    let change = |after: &[u8], order: &[u8], seconds| {
        let mut script = settled(&[1, 2, 3, 4]);
        script.give(group(after));
        script.give(at(2));
        let mut told = script.give(Scans(entries(&[key_of(order)])));
        told.extend(script.give(at(seconds)));
        told.sort();
        told
    };
    let both = ["ask 2 to pull 1", "ask 3 to pull 1"];
    assert_eq!(change(&[2, 3, 4], &[0, 1, 2, 3], 2), both, "the second is gone");
    assert_eq!(change(&[1, 3, 4], &[0, 1, 2, 3], 2), ["ask 3 to pull 1"], "the third is gone");
    let both = ["ask 2 to pull 1", "ask 4 to pull 1"];
    assert_eq!(change(&[2, 3, 4], &[1, 2, 0, 4], 4), Vec::<String>::new(), "by the second holder");
    assert_eq!(change(&[2, 3, 4], &[1, 2, 0, 4], 5), both, "three seconds later");
}

#[test]
fn a_scan_goes_on_behind_its_last_key_and_is_made_again_if_it_fails() {
    let mut script = settled(&[2, 3, 4]);
    script.give(group(&[1, 2, 3, 4]));
    script.give(at(2));
    let first = key_of(&[0, 1, 2]);
    script.play([
        step("a page", ScansMore(entries(&[first])), &["scan", "ask 1 to pull 1"]),
        step("the next one", Scans(vec![]), NONE),
    ]);
    let mut script = settled(&[2, 3, 4]);
    script.give(group(&[1, 2, 3, 4]));
    script.give(at(2));
    script.play([
        step("the disk fails", FailsToScan(StorageFailure::Corrupt), NONE),
        step("not before a minute", Until(Duration::from_micros(61_999_999)), &["index", "expire"]),
        step("a minute later", at(62), &["scan"]),
        step("it is offered", Scans(entries(&[first])), &["ask 1 to pull 1"]),
    ]);
}

#[test]
fn a_node_that_is_silent_five_times_is_given_up_for_a_minute() {
    let mut script = settled(&[2, 3, 4]);
    script.give(group(&[1, 2, 3, 4]));
    script.give(at(2));
    script.give(Scans(entries(&[key_of(&[0, 1, 2])])));
    for time in 1..=4 {
        script.play([
            step("silent", Silent(1), NONE),
            step(
                "five seconds later",
                at(2 + 5 * time),
                // After a quarter of a minute the index of fingerprints is made.
                if time == 3 { &["ask 1 to pull 1", "index"] } else { &["ask 1 to pull 1"] },
            ),
        ]);
    }
    script.play([
        step("silent for the fifth time", Silent(1), NONE),
        step("it is not asked", at(27), NONE),
    ]);
    assert_eq!(script.kv.stats().offers_waiting, 0);
    let told = script.give(at(82));
    assert!(told.contains(&"scan".to_owned()), "like a newcomer: {told:?}");
    // A node that has left the close group is given up at once.
    let mut script = settled(&[2, 3, 4]);
    script.give(group(&[1, 2, 3, 4]));
    script.give(at(2));
    script.give(Scans(entries(&[key_of(&[0, 1, 2])])));
    script.give(group(&[2, 3, 4]));
    script.give(Silent(1));
    assert_eq!(script.kv.stats().offers_waiting, 0);
}

#[test]
fn an_offer_that_is_answered_ends_and_what_changed_meanwhile_is_offered_again() {
    let mut script = settled(&[1, 2, 3, 4]);
    script.play([
        step("a change", Asked(3, store(&old())), &["merge replica: old"]),
        step("durable", Merges(Place::Replica), &["respond stored"]),
        step("it is offered", at(3), &["ask 1 to pull 1", "ask 2 to pull 1"]),
        step("both have it", Answers(1, Response::Offered { wanted: 0 }), NONE),
        step("both have it", Answers(2, Response::Offered { wanted: 0 }), NONE),
    ]);
    assert_eq!((script.kv.stats().offers_waiting, script.kv.stats().keys_offered), (0, 2));
    script.play([
        step("a change", Asked(3, store(&old())), &["merge replica: old"]),
        step("durable", Merges(Place::Replica), &["respond stored"]),
        step("it is offered", at(6), &["ask 1 to pull 1", "ask 2 to pull 1"]),
        step("another change", Asked(3, store(&old())), &["merge replica: old"]),
        step("durable", Other(Input::Timeout), NONE),
    ]);
    let changed =
        StorageReply::Merged { outcome: potluck_record::Merged::Newer, digest: digest(&old()) };
    script.give(crate::script::Given::Outcome(Place::Replica, changed));
    script.play([
        step("what they answered to", Answers(1, Response::Offered { wanted: 0 }), NONE),
        step("the change is due", at(8), &["ask 1 to pull 1"]),
    ]);
}

#[test]
fn a_node_that_keeps_no_records_repairs_nothing() {
    let mut script = Script::client();
    script.play([step("it meets others", group(&[1, 2, 3, 4]), NONE), step("later", at(30), NONE)]);
    let mut script = Script::with(true, Config { replication: 3, ..config() });
    script.give(Other(Input::Leave));
    script.play([
        step("a leaving node looks at no change", group(&[1, 2, 3]), NONE),
        step("later", at(2), NONE),
    ]);
}

#[test]
fn many_keys_are_offered_in_one_call() {
    let mut script = settled(&[2, 3, 4]);
    script.give(group(&[1, 2, 3, 4]));
    script.give(at(2));
    let near = key_of(&[0, 1, 2]);
    let keys: Vec<Key> = (0..=u8::MAX)
        .map(|number| {
            let mut bytes = *near.as_bytes();
            bytes[31] = number;
            Key::from_bytes(bytes)
        })
        .collect();
    let told = script.give(Scans(entries(&keys[..73])));
    assert_eq!(told, ["call 1 to pull 73"]);
    let mut script = settled(&[2, 3, 4]);
    script.give(group(&[1, 2, 3, 4]));
    script.give(at(2));
    let told = script.give(Scans(entries(&keys[..72])));
    assert_eq!(told, ["ask 1 to pull 18"], "a datagram of them");
    let told = script.give(Answers(1, Response::Offered { wanted: 18 }));
    assert_eq!(told, ["ask 1 to pull 18"], "the next of them");
    assert_eq!(script.kv.stats().offers_waiting, 54);
}

#[test]
fn a_node_that_pauses_is_waited_for_and_the_loss_of_others_is_not() {
    let pauses = |script: &mut Script| {
        let time = Duration::from_secs(600);
        script.give(Other(Input::Pauses { node: peer(1).id, time }));
    };
    let scans = |script: &mut Script, seconds| {
        script.give(at(seconds)).iter().filter(|text| *text == "scan").count()
    };
    // It is back in time: nothing is to be done.
    let mut script = settled(&[1, 2, 3, 4]);
    pauses(&mut script);
    script.give(group(&[2, 3, 4]));
    assert_eq!(scans(&mut script, 100), 0);
    script.give(group(&[1, 2, 3, 4]));
    assert_eq!(scans(&mut script, 300), 0, "no node is missing");
    // It is late, and it is believed for two minutes only.
    let mut script = settled(&[1, 2, 3, 4]);
    pauses(&mut script);
    script.give(group(&[2, 3, 4]));
    assert_eq!(scans(&mut script, 119), 0);
    assert_eq!(scans(&mut script, 125) + scans(&mut script, 127), 1, "its place is filled");
    // Another node is lost while it is away.
    let mut script = settled(&[1, 2, 3, 4]);
    pauses(&mut script);
    script.give(group(&[3, 4]));
    assert_eq!(scans(&mut script, 10), 1);
    // A stranger cannot be waited for.
    let mut script = settled(&[1, 2, 3]);
    script.give(Other(Input::Pauses { node: peer(4).id, time: Duration::from_secs(60) }));
    script.give(group(&[2, 3]));
    assert_eq!(scans(&mut script, 10), 1);
}

#[test]
fn a_node_that_was_silent_once_is_no_newcomer() {
    let mut script = settled(&[2, 3, 4]);
    script.give(group(&[1, 2, 3, 4]));
    script.give(at(2));
    script.give(Scans(entries(&[key_of(&[0, 1, 2])])));
    script.give(Silent(1));
    assert_eq!(script.give(at(7)), ["ask 1 to pull 1"]);
    script.give(Answers(1, Response::Offered { wanted: 1 }));
    while let Some(deadline) = script.kv.poll_timeout()
        && deadline.at < Instant::ZERO + Duration::from_secs(80)
    {
        assert_ne!(deadline.why, "repair");
        script.kv.handle(deadline.at, Input::Timeout);
    }
}
