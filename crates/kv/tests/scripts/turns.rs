//! Writes of one node to one key: each continues from the envelope of the one before it.

use std::time::Duration;

use potluck_record::{Place, StorageFailure};

use crate::samples::blind;
use crate::script::{
    Given::{Ends, Fails, Loads, LoadsLast, LoadsSigned, Merges, Put, Stores, Until},
    Script, step,
};

const NONE: &[&str] = &[];

/// Reads for the write with this number, which is then queued.
fn reads(script: &mut Script, id: u64, text: &'static str) -> Vec<String> {
    script.give(Put(id, blind(text)));
    script.give(LoadsLast(Place::Replica, vec![]));
    script.give(LoadsLast(Place::Own, vec![]));
    script.give(Ends(vec![1, 2, 3]))
}

#[test]
fn the_second_write_waits_until_the_first_is_durable_and_keeps_its_value() {
    let mut script = Script::client();
    assert_eq!(reads(&mut script, 1, "one"), ["load own"]);
    assert_eq!(reads(&mut script, 2, "two"), NONE, "it waits");
    script.play([
        step("the first has the turn", Loads(Place::Own, vec![]), &["merge own: one"]),
        step(
            "it is durable",
            Merges(Place::Own),
            &["ask 1 to store one", "ask 2 to store one", "ask 3 to store one", "load own"],
        ),
        step("the second goes on from it", LoadsSigned, &["merge own: one, two"]),
        step(
            "it is durable",
            Merges(Place::Own),
            &["ask 1 to store one, two", "ask 2 to store one, two", "ask 3 to store one, two"],
        ),
        step("one has the first", Stores(1), NONE),
        step("two have it", Stores(2), &["reply 1: written, 2 of 3 acknowledged"]),
        step("all have it", Stores(3), NONE),
        step("one has the second", Stores(1), NONE),
        step("two have it", Stores(2), &["reply 2: written, 2 of 3 acknowledged"]),
    ]);
    let dots: Vec<_> = script.signed().iter().map(|envelope| envelope.head().dot()).collect();
    assert!(dots[0] < dots[1], "no dot is issued twice");
}

#[test]
fn a_write_that_fails_in_its_turn_gives_it_to_the_next() {
    let mut script = Script::client();
    reads(&mut script, 1, "one");
    reads(&mut script, 2, "two");
    reads(&mut script, 3, "three");
    script.play([
        step(
            "damaged",
            Fails(Place::Own, StorageFailure::Corrupt),
            &["reply 1: a stored record is damaged", "load own"],
        ),
        step("the second", Loads(Place::Own, vec![]), &["merge own: two"]),
        step(
            "no room",
            Fails(Place::Own, StorageFailure::Full),
            &["reply 2: no space left for records", "load own"],
        ),
        step("the third", Loads(Place::Own, vec![]), &["merge own: three"]),
    ]);
}

#[test]
fn a_write_that_runs_out_of_time_gives_its_turn_to_the_next() {
    let few = |id: u64| format!("reply {id}: only 0 of the 2 replicas needed acknowledged");
    let mut script = Script::client();
    reads(&mut script, 1, "one");
    reads(&mut script, 2, "two");
    script.give(Until(Duration::from_secs(1)));
    reads(&mut script, 3, "three");
    let late = script.give(Until(Duration::from_secs(10)));
    assert_eq!(late, [few(1), "load own".to_owned(), few(2), "load own".to_owned()]);
    script.play([
        step("for the first, which is gone", Loads(Place::Own, vec![]), NONE),
        step("for the second, which is gone", Loads(Place::Own, vec![]), NONE),
        step("the third goes on", Loads(Place::Own, vec![]), &["merge own: three"]),
    ]);
}

#[test]
fn a_write_that_waits_and_runs_out_of_time_leaves_the_others_alone() {
    let mut script = Script::client();
    reads(&mut script, 1, "one");
    script.give(Loads(Place::Own, vec![]));
    script.give(Merges(Place::Own));
    script.give(Until(Duration::from_secs(9)));
    reads(&mut script, 2, "two");
    reads(&mut script, 3, "three");
    script.play([
        step(
            "the first ends",
            Until(Duration::from_secs(10)),
            &["reply 1: only 0 of the 2 replicas needed acknowledged"],
        ),
        step("the second goes on", LoadsSigned, &["merge own: one, two"]),
    ]);
}

#[test]
fn the_65th_write_to_a_key_is_busy() {
    let mut script = Script::client();
    assert_eq!(reads(&mut script, 1, "first"), ["load own"]);
    for id in 2..=64 {
        assert_eq!(reads(&mut script, id, "next"), NONE, "write {id} waits");
    }
    assert_eq!(reads(&mut script, 65, "last"), ["reply 65: this node is busy; try again"]);
    let stats = script.kv.stats();
    assert_eq!((stats.commands_active, stats.commands_busy), (64, 1));
}
