//! Writes of one node to one key: each continues from the envelope of the one before it.

use std::time::Duration;

use potluck_record::{Name, Place, StorageFailure};
use potluck_wire::Refusal;

use crate::samples::blind;
use crate::script::{
    Given::{
        Ends, EndsLast, Fails, Loads, LoadsLast, LoadsSigned, Merges, Put, Refuses, Stores, Until,
    },
    Script, step,
};

const NONE: &[&str] = &[];

/// Begins the write with this number, and loads what this node holds.
fn begins(script: &mut Script, id: u64, text: &'static str) {
    script.give(Put(id, blind(text)));
    script.give(LoadsLast(Place::Replica, vec![]));
    script.give(LoadsLast(Place::Own, vec![]));
}

/// Reads for the write with this number, which is then queued.
fn reads(script: &mut Script, id: u64, text: &'static str) -> Vec<String> {
    begins(script, id, text);
    script.give(EndsLast(vec![1, 2, 3]))
}

#[test]
fn the_second_write_waits_until_the_first_is_durable_and_keeps_its_value() {
    let mut script = Script::client();
    assert_eq!(reads(&mut script, 1, "one"), ["merge own: one"]);
    assert_eq!(reads(&mut script, 2, "two"), NONE, "it waits");
    script.play([
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
        step("for the second, which is gone", Loads(Place::Own, vec![]), NONE),
        step("of the first, which is gone", Merges(Place::Own), NONE),
        step("the third goes on", Loads(Place::Own, vec![]), &["merge own: three"]),
    ]);
}

#[test]
fn a_write_that_waits_and_runs_out_of_time_leaves_the_others_alone() {
    let mut script = Script::client();
    begins(&mut script, 1, "one");
    script.give(Until(Duration::from_secs(4)));
    begins(&mut script, 2, "two");
    script.play([
        step("the second has the turn", EndsLast(vec![1, 2, 3]), &["merge own: two"]),
        step("the first waits for it", Ends(vec![1, 2, 3]), NONE),
    ]);
    assert_eq!(reads(&mut script, 3, "three"), NONE, "the third as well");
    script.play([
        step(
            "the first runs out of time",
            Until(Duration::from_secs(10)),
            &["reply 1: only 0 of the 2 replicas needed acknowledged"],
        ),
        step(
            "the second is durable",
            Merges(Place::Own),
            &["ask 1 to store two", "ask 2 to store two", "ask 3 to store two", "load own"],
        ),
        step("the third goes on", LoadsSigned, &["merge own: two, three"]),
    ]);
}

#[test]
fn a_write_that_was_loaded_before_the_turn_of_another_loads_again() {
    let mut script = Script::client();
    begins(&mut script, 1, "one");
    begins(&mut script, 2, "two");
    script.give(EndsLast(vec![1, 2, 3]));
    script.give(Merges(Place::Own));
    script.play([
        step("its turn", Ends(vec![1, 2, 3]), &["load own"]),
        step("no value is lost", LoadsSigned, &["merge own: two, one"]),
    ]);
}

#[test]
fn a_write_that_was_loaded_before_another_was_taken_back_loads_again() {
    for answered_late in [false, true] {
        let mut script = Script::client();
        assert_eq!(reads(&mut script, 1, "refused"), ["merge own: refused"]);
        script.give(Merges(Place::Own));
        script.give(Put(2, blind("two")));
        script.give(LoadsLast(Place::Replica, vec![]));
        if !answered_late {
            script.give(LoadsSigned);
        }
        for node in 1..=3 {
            script.give(Refuses(node, Refusal::Life));
        }
        assert_eq!(script.kv.stats().taken_back, 1);
        if answered_late {
            assert_eq!(script.give(LoadsSigned), NONE, "as it was before it was taken back");
        }
        script.play([
            step("its turn", Ends(vec![1, 2, 3]), &["load own"]),
            step("the refused value is gone", Loads(Place::Own, vec![]), &["merge own: two"]),
        ]);
    }
}

#[test]
fn a_write_to_another_key_changes_nothing() {
    let mut script = Script::client();
    begins(&mut script, 1, "one");
    let name = Some(Name::new("b").expect("a name"));
    script.give(Put(2, potluck_kv::Put { name, ..blind("two") }));
    script.give(LoadsLast(Place::Replica, vec![]));
    script.give(LoadsLast(Place::Own, vec![]));
    assert_eq!(script.give(EndsLast(vec![1, 2, 3])), ["merge own: two"]);
    script.give(Merges(Place::Own));
    script.play([step("nothing is loaded again", Ends(vec![1, 2, 3]), &["merge own: one"])]);
}

#[test]
fn an_own_envelope_that_could_not_be_loaded_is_loaded_in_the_turn() {
    let mut script = Script::client();
    script.give(Put(1, blind("one")));
    script.play([
        step("no replica here", Loads(Place::Replica, vec![]), NONE),
        step("damaged", Fails(Place::Own, StorageFailure::Corrupt), NONE),
        step("the read is over", Ends(vec![1, 2, 3]), &["load own"]),
        step("mended", Loads(Place::Own, vec![]), &["merge own: one"]),
    ]);
}

#[test]
fn the_65th_write_to_a_key_is_busy() {
    let mut script = Script::client();
    assert_eq!(reads(&mut script, 1, "first"), ["merge own: first"]);
    for id in 2..=64 {
        assert_eq!(reads(&mut script, id, "next"), NONE, "write {id} waits");
    }
    assert_eq!(reads(&mut script, 65, "last"), ["reply 65: this node is busy; try again"]);
    let stats = script.kv.stats();
    assert_eq!((stats.commands_active, stats.commands_busy), (64, 1));
}
