//! Replicas that refuse a write: the node that is asked instead, what the application is told, and whether
//! the envelope is taken back.

use potluck_base::Machine as _;
use potluck_kv::{Config, Input};
use potluck_record::{Place, StateDigest, StorageFailure, StorageReply};
use potluck_wire::{Refusal, Response};

use crate::samples::{config, put, value};
use crate::script::{
    Given::{
        Answers, Ends, Fails, Finds, Loads, Merges, Outcome, Put, Refuses, RefusesAll, Silent,
        Stores, Unlooked,
    },
    Script, step,
};

const NONE: &[&str] = &[];
const TAKEN_BACK: [&str; 2] = ["take back own for nothing", "take back replica for nothing"];

/// A client that has sent a write to the nodes 1 to 3, with 4 to 6 to spare.
fn stores() -> Script {
    let mut script = Script::client();
    script.give(Put(1, put()));
    script.give(Loads(Place::Replica, vec![]));
    script.give(Loads(Place::Own, vec![]));
    script.give(Finds(1, vec![]));
    script.give(Finds(2, vec![]));
    script.give(Ends((1..=6).collect()));
    assert_eq!(script.give(Merges(Place::Own)).len(), 3);
    script
}

/// Each reason: whether the next node is asked instead, and whether the envelope is taken back when all
/// gave it.
const REASONS: [(Refusal, bool, bool); 13] = [
    (Refusal::Busy, true, false),
    (Refusal::Unproven, true, false),
    (Refusal::BadEnvelope, false, true),
    (Refusal::Ahead, false, true),
    (Refusal::Life, false, true),
    (Refusal::TooManyWriters, false, true),
    (Refusal::Full, true, true),
    (Refusal::Quota, true, true),
    (Refusal::Stopped, true, false),
    (Refusal::Unsupported, false, false),
    (Refusal::NotServing, true, false),
    (Refusal::NotResponsible, true, true),
    (Refusal::NotMember, false, true),
];

#[test]
fn a_replica_that_cannot_store_is_replaced_and_one_that_rejects_is_not() {
    for (reason, replaced, _) in REASONS {
        for refusal in [Refuses(1, reason), RefusesAll(1, reason)] {
            let next: &[&str] = if replaced { &["ask 4 to store new"] } else { NONE };
            stores().play([step("one refuses", refusal, next)]);
        }
    }
    stores().play([step("one is silent", Silent(1), &["ask 4 to store new"])]);
    let nothing = Response::Stored { outcomes: vec![] };
    stores().play([step("one tells no outcome", Answers(1, nothing), &["ask 4 to store new"])]);
    stores().play([step(
        "one answers nonsense",
        Answers(1, Response::Pong),
        &["ask 4 to store new"],
    )]);
}

#[test]
fn what_all_refuse_for_good_is_taken_back_and_told_by_its_reason() {
    for (reason, replaced, taken_back) in REASONS {
        let mut script = stores();
        let last = if replaced { 6 } else { 3 };
        for node in 1..last {
            script.give(Refuses(node, reason));
        }
        let text = match reason {
            Refusal::Ahead => {
                "this node's clock is minutes ahead of those of the replicas; set the clock"
                    .to_owned()
            }
            reason => format!("the replicas refused: {reason}"),
        };
        let reply = format!("reply 1: {text}");
        let mut end = if taken_back { TAKEN_BACK.to_vec() } else { vec![] };
        end.push(&reply);
        script.play([step("the last one refuses", Refuses(last, reason), &end)]);
        assert_eq!(script.kv.stats().taken_back, u64::from(taken_back), "{reason}");
    }
}

#[test]
fn what_one_replica_may_have_is_not_taken_back() {
    let refused = "reply 1: the replicas refused: too many writers";
    let table = [
        ("one has it", Stores(3), "reply 1: only 1 of the 2 replicas needed acknowledged"),
        (
            "one may store it later",
            Refuses(3, Refusal::Unsupported),
            "reply 1: the replicas \
          refused: not supported",
        ),
    ];
    for (case, third, reply) in table {
        let mut script = stores();
        script.give(Refuses(1, Refusal::TooManyWriters));
        script.give(Refuses(2, Refusal::TooManyWriters));
        script.play([step(case, third, &[reply])]);
    }
    let mut script = stores();
    script.give(Silent(1));
    script.give(Silent(4));
    script.give(Silent(5));
    script.give(Silent(6));
    script.give(Refuses(2, Refusal::TooManyWriters));
    script.play([step("the silent may have it", Refuses(3, Refusal::TooManyWriters), &[refused])]);
    // No room is told although one has stored it: the write may fit once there is room.
    let mut script = stores();
    script.give(Stores(1));
    for node in [2, 3, 4, 5] {
        script.give(Refuses(node, Refusal::Full));
    }
    let full = "reply 1: the replicas refused: no space left";
    script.play([step("no room", Refuses(6, Refusal::Full), &[full])]);
}

#[test]
fn a_write_that_is_taken_back_leaves_the_one_before_it() {
    let mut script = Script::client();
    let before = value(0, "before");
    script.give(Put(1, put()));
    script.give(Loads(Place::Replica, vec![]));
    script.give(Loads(Place::Own, vec![before]));
    script.play([
        step("the read is over", Ends(vec![1]), &["merge own: new"]),
        step("durable", Merges(Place::Own), &["ask 1 to store new"]),
        step(
            "refused",
            Refuses(1, Refusal::Life),
            &[
                "take back own for before",
                "take back replica for before",
                "reply 1: the replicas refused: life over or too long",
            ],
        ),
    ]);
}

#[test]
fn the_replica_of_the_writer_itself_counts_like_the_others() {
    let digest = StateDigest::EMPTY;
    let older =
        |held| StorageReply::Merged { outcome: potluck_record::Merged::Older(held), digest };
    let stored = || {
        let mut script = Script::replica();
        script.give(Put(1, put()));
        script.give(Loads(Place::Replica, vec![]));
        script.give(Loads(Place::Own, vec![]));
        script.give(Finds(1, vec![]));
        script.give(Ends(vec![1, 2, 3]));
        assert_eq!(script.give(Merges(Place::Own)).len(), 3);
        script
    };
    let next: &[&str] = &["ask 3 to store new"];
    let full = Fails(Place::Replica, StorageFailure::Full);
    stored().play([step("no room", full, next)]);
    let damaged = Fails(Place::Replica, StorageFailure::Corrupt);
    stored().play([step("damaged", damaged, next)]);
    let writers = Outcome(Place::Replica, StorageReply::TooManyWriters);
    stored().play([step("too many writers", writers, NONE)]);
    let mut script = stored();
    let signed = script.signed()[0].head().id();
    script.play([
        step("it has it", Outcome(Place::Replica, older(signed)), NONE),
        step("and one more", Stores(1), &["reply 1: written, 2 of 3 acknowledged"]),
    ]);
    let foreign = value(0, "theirs").head().id();
    let strange = Outcome(Place::Replica, older(foreign));
    stored().play([step("a foreign one", strange, &["foreign write"])]);
    // Its own acknowledgement alone does not keep what all others refuse.
    let mut script = stored();
    script.give(Merges(Place::Replica));
    script.give(Refuses(1, Refusal::Life));
    script.play([step(
        "all others refuse",
        Refuses(2, Refusal::Life),
        &[TAKEN_BACK[0], TAKEN_BACK[1], "reply 1: the replicas refused: life over or too long"],
    )]);
}

#[test]
fn a_node_that_has_too_much_to_do_is_busy() {
    let busy = |id: u64| format!("reply {id}: this node is busy; try again");
    let mut script = Script::with(false, Config { commands_max: 1, ..config() });
    script.play([
        step("the first one", Put(1, put()), &["load replica", "load own", "look up 6 for put"]),
        step("one too many", Put(2, put()), &[&busy(2)]),
        step("no lookup", Unlooked, &[&busy(1)]),
        step("there is room", Put(3, put()), &["load replica", "load own", "look up 6 for put"]),
    ]);
    let stats = script.kv.stats();
    assert_eq!((stats.commands_failed, stats.commands_busy, stats.commands_active), (2, 2, 1));
    // What the disk loads for a command that has ended is dropped.
    script.play([step("late", Loads(Place::Replica, vec![]), NONE)]);
    script.kv.handle(potluck_base::Instant::ZERO, Input::Elsewhere);
    let told = script.give(Put(4, put()));
    assert_eq!(told, [busy(4)], "before anything else is looked at");
}
