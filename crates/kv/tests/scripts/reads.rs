//! Reads: agreement, absence, quorums, and read repair.

use std::time::Duration;

use potluck_base::UnixMillis;
use potluck_kv::{Command, CommandId, Config, Input};
use potluck_record::{Place, Space, StorageFailure, TeamId};

use crate::samples::{
    MINUTE, WALL, config, dated, digest, envelope, identity, new, new_texts, old, page, value,
};
use crate::script::{
    Given::{
        Claims, Ends, EndsLast, Fails, Finds, Get, Loads, LoadsLast, Merges, Other, Page, Silent,
        Strict, Unknowing, Until,
    },
    Script, step,
};

const NONE: &[&str] = &[];

/// A read by a client that holds nothing itself.
fn reads(given: crate::script::Given) -> Script {
    let mut script = Script::client();
    script.play([
        step("it reads", given, &["load replica", "load own", "look up 3 for get"]),
        step("no replica here", Loads(Place::Replica, vec![]), NONE),
        step("nothing written here", Loads(Place::Own, vec![]), NONE),
    ]);
    script
}

#[test]
fn a_read_ends_when_two_replicas_agree() {
    let mut script = reads(Get(1));
    script.play([
        step("one has it", Finds(1, old()), NONE),
        step("two have it", Finds(2, old()), &["stop looking", "reply 1: read old of 2"]),
    ]);
    let stats = script.kv.stats();
    assert_eq!((stats.gets, stats.gets_found, stats.gets_absent), (1, 1, 0));
    assert_eq!((stats.commands_active, stats.read_repairs), (0, 0));
}

#[test]
fn the_fifth_equal_read_waits_and_shares_the_next_one() {
    let mut script = Script::client();
    let begins = ["load replica", "load own", "look up 3 for get"];
    for id in 1..=4 {
        script.play([step("it reads", Get(id), &begins)]);
    }
    script.play([
        step("the fifth waits", Get(5), NONE),
        step("the sixth as well", Get(6), NONE),
        step("another quorum is another read", Strict(7, 3), &begins),
        step("no replica here", Loads(Place::Replica, vec![]), NONE),
        step("nothing written here", Loads(Place::Own, vec![]), NONE),
        step("one has it", Finds(1, old()), NONE),
    ]);
    let mut shared = vec!["stop looking", "reply 1: read old of 2"];
    shared.extend(begins);
    script.play([step("two have it, and the shared read begins", Finds(2, old()), &shared)]);
    script.play([
        step("no replica here", LoadsLast(Place::Replica, vec![]), NONE),
        step("nothing written here", LoadsLast(Place::Own, vec![]), NONE),
        step(
            "no one has it, although it was read before",
            EndsLast(vec![]),
            &["look up 7 for wider: older answer"],
        ),
        step(
            "no one has it still",
            EndsLast(vec![]),
            &[
                "reply 5: only 0 of the 2 replicas needed answered",
                "reply 6: only 0 of the 2 replicas needed answered",
            ],
        ),
    ]);
    let stats = script.kv.stats();
    assert_eq!((stats.gets, stats.gets_shared, stats.commands_active), (7, 2, 4));
}

#[test]
fn a_record_of_a_team_whose_list_cannot_be_read_is_unknown_and_not_absent() {
    let team = TeamId::of(&identity(1).public_key(), "crew");
    let held = || vec![envelope(8, "theirs", |draft| draft.space = Space::Team(team))];
    let key = held()[0].head().key();
    let begins = ["load replica", "load own", "look up 3 for get"];
    let mut script = Script::client();
    let get = Command::Get { key, quorum: None };
    let mut waits = vec!["stop looking"];
    waits.extend(begins);
    script.play([
        step("it reads", Other(Input::Command { id: CommandId(1), command: get }), &begins),
        step("no replica here", Loads(Place::Replica, vec![]), NONE),
        step("nothing written here", Loads(Place::Own, vec![]), NONE),
        step("one has it", Finds(1, held()), NONE),
        step("two have it, and the list is read", Finds(2, held()), &waits),
        step("no list here", Loads(Place::Replica, vec![]), NONE),
        step("none written here", Loads(Place::Own, vec![]), NONE),
        step(
            "no node answers for the list",
            EndsLast(vec![]),
            &["reply 1: only 0 of the 2 replicas needed answered"],
        ),
    ]);
    assert_eq!(script.kv.stats().commands_active, 0);
}

#[test]
fn a_stale_replica_is_sent_what_it_lacks() {
    let mut script = reads(Get(1));
    script.play([
        step("one is stale", Finds(1, old()), NONE),
        step("one is not", Finds(2, new()), NONE),
        step(
            "nor a second",
            Finds(3, new()),
            &["stop looking", "reply 1: read new of 3", &format!("ask 1 to store {}", new_texts())],
        ),
        step("its answer is not needed", Silent(1), NONE),
    ]);
    assert_eq!(script.kv.stats().read_repairs, 1);
}

#[test]
fn an_empty_replica_is_sent_the_record_only_if_it_is_one_of_the_closest() {
    let mut script = reads(Get(1));
    script.play([
        step("one lacks it", Finds(1, vec![]), NONE),
        step("one that is far as well", Finds(4, vec![]), NONE),
        step("one has it", Finds(2, old()), NONE),
        step(
            "the lookup ends first",
            Ends(vec![1, 2, 3, 4]),
            &["reply 1: read old of 3", "ask 1 to store old"],
        ),
    ]);
    let mut script = reads(Get(1));
    script.play([
        step("one lacks it", Finds(1, vec![]), NONE),
        step("one has it", Finds(2, old()), NONE),
        step(
            "the closest nodes are not known yet",
            Finds(3, old()),
            &["stop looking", "reply 1: read old of 3"],
        ),
    ]);
}

#[test]
fn a_read_repairs_no_more_replicas_than_configured() {
    let mut script =
        Script::with(false, Config { replication: 5, read_repairs_max: 2, ..config() });
    script.give(Get(1));
    script.give(Loads(Place::Replica, vec![]));
    script.give(Loads(Place::Own, new()));
    for node in [1, 2, 3] {
        assert_eq!(script.give(Finds(node, old())), NONE);
    }
    let told = script.give(Ends(vec![1, 2, 3]));
    assert_eq!(told.len(), 3, "a reply and two repairs: {told:?}");
}

#[test]
fn a_replica_that_reads_repairs_itself() {
    let mut script = Script::replica();
    script.play([
        step("it reads", Get(1), &["load replica", "load own", "look up 3 for get"]),
        step("its replica is stale", Loads(Place::Replica, vec![]), NONE),
        step("nothing written here", Loads(Place::Own, vec![]), NONE),
        step("one has it", Finds(1, old()), NONE),
        step(
            "two have it",
            Finds(2, old()),
            &["stop looking", "reply 1: read old of 3", "merge replica: old"],
        ),
        step("durable", Merges(Place::Replica), NONE),
    ]);
    let mut script = Script::replica();
    script.play([
        step("it reads", Get(1), &["load replica", "load own", "look up 3 for get"]),
        step("its replica has it", Loads(Place::Replica, old()), NONE),
        step("nothing written here", Loads(Place::Own, vec![]), NONE),
        step(
            "with this node two agree",
            Finds(1, old()),
            &["stop looking", "reply 1: read old of 2"],
        ),
    ]);
}

#[test]
fn a_node_reads_its_own_write_that_no_replica_has_yet() {
    let mut script = Script::client();
    script.give(Get(1));
    script.play([
        step("no replica here", Loads(Place::Replica, vec![]), NONE),
        step("it wrote", Loads(Place::Own, vec![value(0, "mine")]), NONE),
        step("one has nothing", Finds(1, vec![]), NONE),
        step("another neither", Finds(2, vec![]), NONE),
        step(
            "it is read all the same",
            Ends(vec![1, 2, 3]),
            &["reply 1: read mine of 2", "ask 1 to store mine", "ask 2 to store mine"],
        ),
    ]);
}

#[test]
fn a_record_is_absent_when_enough_of_the_closest_say_so() {
    let mut script = reads(Get(1));
    script.play([
        step("one has nothing", Finds(1, vec![]), NONE),
        step("another neither", Finds(2, vec![]), NONE),
        step("the lookup ends", Ends(vec![1, 2, 3]), &["reply 1: read nothing of 2"]),
    ]);
    assert_eq!(script.kv.stats().gets_absent, 1);
    let mut script = reads(Get(1));
    script.play([
        step("one has nothing", Finds(1, vec![]), NONE),
        step("one that is far neither", Finds(4, vec![]), NONE),
        step("one does not say", Unknowing(2), NONE),
        step(
            "the lookup ends",
            Ends(vec![1, 2, 3, 4]),
            &["reply 1: only 1 of the 2 replicas needed answered"],
        ),
    ]);
}

#[test]
fn a_strict_quorum_counts_the_closest_that_answered() {
    let mut script = reads(Strict(1, 3));
    script.play([
        step("one has it", Finds(1, old()), NONE),
        step("two have it", Finds(2, old()), NONE),
        step(
            "two are too few",
            Ends(vec![1, 2, 3]),
            &["reply 1: only 2 of the 3 replicas needed answered"],
        ),
    ]);
    let mut script = reads(Strict(1, 3));
    script.play([
        step("one has it", Finds(1, old()), NONE),
        step("two have it", Finds(2, old()), NONE),
        step("one has nothing", Finds(3, vec![]), NONE),
        step(
            "three answered",
            Ends(vec![1, 2, 3]),
            &["reply 1: read old of 3", "ask 3 to store old"],
        ),
    ]);
}

#[test]
fn a_sibling_that_a_single_replica_has_is_read() {
    let mut script = reads(Get(1));
    script.play([
        step("one has a value", Finds(1, vec![value(8, "one")]), NONE),
        step("one has another", Finds(2, vec![value(7, "two")]), NONE),
    ]);
    let told = script.give(Ends(vec![1, 2, 3]));
    assert!(told[0].starts_with("reply 1: read ") && told[0].ends_with(" of 2"), "{told:?}");
    assert!(told[0].contains("one") && told[0].contains("two"), "both values: {told:?}");
    assert_eq!(told.len(), 3, "both lack one: {told:?}");
}

#[test]
fn a_replica_whose_digest_is_known_agrees_without_being_read() {
    let mut script = reads(Get(1));
    script.play([
        step("one has it", Finds(1, old()), NONE),
        step(
            "one says that it has the same",
            Claims(2, digest(&old())),
            &["stop looking", "reply 1: read old of 2"],
        ),
    ]);
}

#[test]
fn a_read_waits_for_the_state_that_a_replica_claims() {
    let mut script = reads(Get(1));
    script.play([
        step("one has more than fits", Claims(3, digest(&new())), &["call 3 for a page"]),
        step("one has it", Finds(1, old()), NONE),
        step("two agree, which may be stale", Finds(2, old()), NONE),
    ]);
    let told = script.give(Page(3, page(&new(), 1)));
    assert_eq!(told, NONE, "no two agree on the newest");
    let told = script.give(Ends(vec![1, 2, 3]));
    assert_eq!(told[0], "reply 1: read new of 3");
    assert_eq!(told.len(), 3, "two are repaired");
}

#[test]
fn at_its_deadline_a_read_decides_with_the_answers_so_far() {
    let half = Duration::from_secs(5);
    let mut script = reads(Get(1));
    script.play([
        step("one has it", Finds(1, old()), NONE),
        step("one claims more", Claims(2, digest(&new())), &["call 2 for a page"]),
        step("just before", Until(half - Duration::from_micros(1)), NONE),
        step("the deadline", Until(half), &["stop looking", "reply 1: read old of 1"]),
        step("too late", Page(2, page(&old(), 1)), NONE),
    ]);
    let mut script = reads(Get(1));
    script.play([
        step("one has nothing", Finds(1, vec![]), NONE),
        step("another neither", Finds(2, vec![]), NONE),
        step("one claims more", Claims(3, digest(&new())), &["call 3 for a page"]),
        step("the lookup is over", Ends(vec![1, 2, 3]), NONE),
        step(
            "that one may hold it",
            Until(half),
            &["reply 1: only 2 of the 2 replicas needed answered"],
        ),
    ]);
    let mut script = Script::client();
    script.give(Get(1));
    script.play([
        step("one has it", Finds(1, old()), NONE),
        step("two have it, but the disk is slow", Finds(2, old()), NONE),
        step("the deadline", Until(half), &["stop looking", "reply 1: read old of 2"]),
    ]);
}

#[test]
fn a_read_refuses_to_judge_with_a_clock_that_is_behind() {
    let early = || vec![dated(8, "early", 6 * MINUTE)];
    let clock =
        "reply 1: this node's clock is minutes behind the records that are kept; set the clock";
    let mut script = reads(Get(1));
    script.play([
        step("one is ahead", Finds(1, early()), NONE),
        step("a second one", Finds(2, early()), &["stop looking", clock]),
    ]);
    let mut script = reads(Get(1));
    script.play([
        step("two claim it", Claims(1, digest(&early())), &["call 1 for a page"]),
        step("the second waits for the first", Claims(2, digest(&early())), NONE),
        step("it is ahead", Page(1, page(&early(), 1)), &["call 2 for a page"]),
        step("so is the second", Page(2, page(&early(), 1)), &["stop looking", clock]),
    ]);
}

#[test]
fn envelopes_that_no_replica_may_hold_are_not_read() {
    let expired = envelope(8, "expired", |draft| {
        let end = crate::samples::ago(Duration::from_millis(1));
        (draft.values[0].1, draft.expires) = (end, end);
    });
    let forever = envelope(8, "forever", |draft| {
        draft.expires = WALL.plus(config().life_max + 6 * MINUTE);
    });
    for strange in [expired, forever] {
        let mut script = reads(Get(1));
        script.play([
            step("one has it", Finds(1, vec![strange.clone()]), NONE),
            step("two have it", Finds(2, vec![strange]), NONE),
            step("it is nothing", Ends(vec![1, 2, 3]), &["reply 1: read nothing of 2"]),
        ]);
    }
}

#[test]
fn a_disk_that_fails_counts_as_no_answer() {
    let mut script = Script::replica();
    script.give(Get(1));
    script.play([
        step("damaged", Fails(Place::Replica, StorageFailure::Corrupt), NONE),
        step("damaged as well", Fails(Place::Own, StorageFailure::Stopped), NONE),
        step("one has it", Finds(1, old()), NONE),
        step("two have it", Finds(2, old()), &["stop looking", "reply 1: read old of 2"]),
    ]);
}

#[test]
fn a_foreign_envelope_under_this_nodes_key_is_told_by_a_read_as_well() {
    let mut script = reads(Get(1));
    script.play([
        step("one has it", Finds(1, vec![value(0, "theirs")]), NONE),
        step(
            "two have it",
            Finds(2, vec![value(0, "theirs")]),
            &["stop looking", "foreign write", "reply 1: read theirs of 2"],
        ),
    ]);
    let mut script = Script::client();
    script.give(Get(1));
    script.give(Loads(Place::Replica, vec![]));
    script.give(Loads(Place::Own, vec![value(0, "mine")]));
    script.play([
        step("one has it", Finds(1, vec![value(0, "mine")]), NONE),
        step(
            "two have it",
            Finds(2, vec![value(0, "mine")]),
            &["stop looking", "reply 1: read mine of 2"],
        ),
    ]);
}

#[test]
fn an_own_envelope_whose_life_is_over_is_no_foreign_write() {
    let ends = |end: UnixMillis| {
        let held = envelope(0, "mine", |draft| {
            (draft.values[0].1, draft.expires) = (end, end);
        });
        let mut script = Script::client();
        script.give(Get(1));
        script.give(Loads(Place::Replica, vec![held]));
        script.give(Loads(Place::Own, vec![]));
        script.give(Ends(vec![1, 2, 3]))
    };
    assert_eq!(ends(WALL), ["reply 1: read nothing of 0"]);
    let lives = ends(WALL.plus(Duration::from_millis(1)));
    assert_eq!(lives, ["foreign write", "reply 1: read mine of 0"]);
}
