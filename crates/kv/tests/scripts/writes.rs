//! Writes: the read before them, the signature, the quorum, and the deadlines.

use std::time::Duration;

use potluck_base::Machine as _;
use potluck_kv::{Config, Input, Put, WriteContext};
use potluck_record::{EnvelopeId, Place, StateDigest, StorageFailure};
use potluck_wire::{Response, StoreOutcome};

use crate::samples::{MINUTE, config, dated, digest, envelope, put, superseding, value};
use crate::script::{
    Given::{
        Answers, Claims, Ends, EndsWithout, Fails, Finds, Loads, LoadsSigned, Merges, Other, Page,
        Put as Puts, Silent, Stores, Unknowing, Until,
    },
    Script, TestStep, step,
};

const NONE: &[&str] = &[];

/// A write of a client up to its store requests, where nothing is written yet.
fn until_stored(put: Put) -> Vec<TestStep> {
    vec![
        step("it reads", Puts(1, put), &["load replica", "load own", "look up 6 for put"]),
        step("no replica here", Loads(Place::Replica, vec![]), NONE),
        step("nothing written before", Loads(Place::Own, vec![]), NONE),
        step("one replica has nothing", Finds(1, vec![]), NONE),
        step("another neither", Finds(2, vec![]), NONE),
        step("the read is over", Ends(vec![1, 2, 3, 4, 5]), &["merge own: new"]),
        step(
            "it is durable here",
            Merges(Place::Own),
            &["ask 1 to store new", "ask 2 to store new", "ask 3 to store new"],
        ),
    ]
}

#[test]
fn a_write_is_acknowledged_when_a_majority_has_stored_it() {
    let mut script = Script::client();
    script.play(until_stored(put()));
    script.play([
        step("one of three", Stores(3), NONE),
        step("two of three", Stores(1), &["reply 1: written, 2 of 3 acknowledged"]),
        step("the last one changes nothing", Stores(2), NONE),
    ]);
    let stats = script.kv.stats();
    assert_eq!((stats.puts, stats.puts_written, stats.commands_active), (1, 1, 0));
}

#[test]
fn the_quorum_is_that_of_the_write_or_of_the_configuration() {
    let all = Put { quorum: Some(3), ..put() };
    let one = Config { write_quorum: Some(1), ..config() };
    let many = Config { write_quorum: Some(3), ..config() };
    for (case, config, members, put, needed) in [
        ("asked for", config(), 9, all.clone(), 3),
        ("asked for before the configured one", one.clone(), 9, all, 3),
        ("configured", one, 9, put(), 1),
        ("configured, of the members that there are", many, 2, put(), 2),
        ("a majority of the members that there are", config(), 1, put(), 1),
    ] {
        let mut script = Script::with(false, config);
        script.kv.handle(potluck_base::Instant::ZERO, Input::Members(members));
        script.play(until_stored(put));
        let acks = (1..=3).take_while(|node| script.give(Stores(*node)).is_empty());
        assert_eq!(acks.count() + 1, needed, "{case}");
    }
}

#[test]
fn a_replica_counts_its_own_copy() {
    let mut script = Script::replica();
    script.play([
        step("it reads", Puts(1, put()), &["load replica", "load own", "look up 6 for put"]),
        step("its replica", Loads(Place::Replica, vec![]), NONE),
        step("its own", Loads(Place::Own, vec![]), NONE),
        step("with this node two have answered", Finds(1, vec![]), NONE),
        step("the read is over", Ends(vec![1, 2, 3]), &["merge own: new"]),
        step(
            "durable",
            Merges(Place::Own),
            &["merge replica: new", "ask 1 to store new", "ask 2 to store new"],
        ),
        step("here", Merges(Place::Replica), NONE),
        step("and there", Stores(2), &["reply 1: written, 2 of 3 acknowledged"]),
    ]);
}

#[test]
fn without_enough_answers_a_record_is_not_called_absent() {
    let few = "reply 1: only 1 of the 2 replicas needed answered";
    let read = |answers: Vec<TestStep>, end: &[&str]| {
        let mut script = Script::client();
        script.give(Puts(1, put()));
        script.play([
            step("no replica here", Loads(Place::Replica, vec![]), NONE),
            step("nothing written before", Loads(Place::Own, vec![]), NONE),
        ]);
        script.play(answers);
        script.play([step("the read is over", Ends(vec![1, 2, 3]), end)]);
    };
    read(vec![step("one has nothing", Finds(1, vec![]), NONE)], &[few]);
    read(
        vec![
            step("one has nothing", Finds(1, vec![]), NONE),
            step("one does not say", Unknowing(2), NONE),
        ],
        &[few],
    );
    read(vec![step("one has it", Finds(1, vec![value(8, "old")]), NONE)], &["merge own: new"]);
    read(
        vec![
            step("one has nothing", Finds(1, vec![]), NONE),
            step("another neither", Finds(2, vec![]), NONE),
            step(
                "a third claims more",
                Claims(3, digest(&[value(8, "old")])),
                &["call 3 for a page"],
            ),
            step("and does not give it", Silent(3), NONE),
        ],
        &["reply 1: only 2 of the 2 replicas needed answered"],
    );
}

#[test]
fn what_needs_no_read_is_written_without_any_answer() {
    let blind = Put { context: WriteContext::Blind, ..put() };
    let mut script = Script::client();
    script.give(Puts(1, blind));
    script.play([
        step("no replica here", Loads(Place::Replica, vec![]), NONE),
        step("nothing written before", Loads(Place::Own, vec![]), NONE),
        step("no node answers", Ends(vec![]), &["merge own: new"]),
        step(
            "there is no replica",
            Merges(Place::Own),
            &["reply 1: only 0 of the 2 replicas needed acknowledged"],
        ),
    ]);
    assert_eq!(script.kv.stats().commands_active, 0);
}

#[test]
fn the_read_of_a_write_ends_at_half_its_time_with_the_answers_so_far() {
    let mut script = Script::client();
    script.give(Puts(1, put()));
    script.play([
        step("no replica here", Loads(Place::Replica, vec![]), NONE),
        step("one has it", Finds(1, vec![value(8, "old")]), NONE),
        step("one claims more", Claims(2, digest(&[value(7, "more")])), &["call 2 for a page"]),
        step("just before", Until(Duration::from_micros(4_999_999)), NONE),
        step("half the time", Until(Duration::from_secs(5)), &["stop looking", "load own"]),
        step("a page that comes late", Page(2, potluck_wire::Loaded::default()), NONE),
        step("a disk that was slow", Loads(Place::Own, vec![]), NONE),
        step("its turn", Loads(Place::Own, vec![]), &["merge own: new"]),
    ]);
    assert_eq!(script.signed()[0].head().context().len(), 1, "it supersedes what it read");
}

#[test]
fn a_write_fails_at_its_deadline_and_later_answers_change_nothing() {
    let few = "reply 1: only 1 of the 2 replicas needed acknowledged";
    let mut script = Script::client();
    script.play(until_stored(put()));
    script.play([
        step("one of three", Stores(1), NONE),
        step("a farther one is asked", Until(Duration::from_secs(5)), &["ask 4 to store new"]),
        step("just before", Until(Duration::from_micros(9_999_999)), NONE),
        step("the deadline", Until(Duration::from_secs(10)), &[few]),
        step("it comes late", Stores(2), NONE),
    ]);
    assert_eq!(script.kv.stats().commands_active, 0);
    let mut script = Script::client();
    script.play(until_stored(put()));
    script.give(Stores(1));
    assert_eq!(script.give(Stores(2)), ["reply 1: written, 2 of 3 acknowledged"]);
    assert_eq!(script.kv.stats().commands_active, 1, "it waits for the third");
    script.play([step("a written one is forgotten", Until(Duration::from_secs(10)), NONE)]);
    assert_eq!(script.kv.stats().commands_active, 0);
    // A write that has not read anything yet tells the same.
    let mut script = Script::client();
    script.give(Puts(1, put()));
    let late = script.give(Until(Duration::from_secs(10)));
    assert_eq!(late, ["stop looking", "reply 1: only 0 of the 2 replicas needed acknowledged"]);
}

#[test]
fn a_farther_node_is_asked_when_acknowledgements_are_late() {
    let after = |ms| Until(Duration::from_millis(ms));
    let mut script = Script::client();
    script.play(until_stored(put()));
    script.play([
        step("one of three", Stores(1), NONE),
        step("not yet", after(249), NONE),
        step("one acknowledgement is missing", after(250), &["ask 4 to store new"]),
        step("that node is fast", Stores(4), &["reply 1: written, 2 of 3 acknowledged"]),
        step("no further one is asked", after(9000), NONE),
        step("the slow one answers", Stores(2), NONE),
        step("the last one fails and is not replaced", Silent(3), NONE),
    ]);
    let stats = script.kv.stats();
    assert_eq!((stats.stores_hedged, stats.commands_active), (1, 0));
    // Two are missing, so two are asked; then there is no other node.
    let mut script = Script::client();
    script.play(until_stored(put()));
    script.play([
        step("two are missing", after(250), &["ask 4 to store new", "ask 5 to store new"]),
        step("there is no other node", after(500), NONE),
        step("the first node answers", Stores(1), NONE),
        step("a farther one", Stores(5), &["reply 1: written, 2 of 3 acknowledged"]),
    ]);
}

#[test]
fn a_write_does_not_wait_for_a_node_that_is_late_and_stores_there_too() {
    let read = |late: Vec<u8>| {
        let mut script = Script::client();
        script.give(Puts(1, put()));
        script.play([
            step("no replica here", Loads(Place::Replica, vec![]), NONE),
            step("nothing written before", Loads(Place::Own, vec![]), NONE),
            step("one replica has nothing", Finds(2, vec![]), NONE),
            step("another neither", Finds(3, vec![]), NONE),
            step("the first is late", EndsWithout(vec![2, 3, 4, 5, 6], late), &["merge own: new"]),
        ]);
        script
    };
    let mut script = read(vec![1]);
    let asked =
        ["ask 2 to store new", "ask 3 to store new", "ask 4 to store new", "ask 1 to store new"];
    script.play([
        step("it is durable here", Merges(Place::Own), &asked),
        step("the late one fails and is not replaced", Silent(1), NONE),
        step("one of three", Stores(2), NONE),
        step("two of three", Stores(3), &["reply 1: written, 2 of 3 acknowledged"]),
        step("a replica fails and is not needed", Silent(4), &["ask 5 to store new"]),
        step("the one in its place", Stores(5), NONE),
    ]);
    assert_eq!(script.kv.stats().commands_active, 0);
    // A late node that is farther than the replicas is not asked.
    assert_eq!(read(vec![5]).give(Merges(Place::Own)), asked[..3]);
}

#[test]
fn siblings_are_read_and_returned_and_nothing_is_written() {
    let both = || vec![value(7, "one"), value(8, "two")];
    let mut script = Script::client();
    script.give(Puts(1, put()));
    script.play([
        step("no replica here", Loads(Place::Replica, vec![]), NONE),
        step("nothing written before", Loads(Place::Own, vec![]), NONE),
        step("one has two values", Finds(1, both()), NONE),
        step("another the same", Finds(2, both()), NONE),
        step(
            "a read begins",
            Ends(vec![1, 2, 3]),
            &["load replica", "load own", "look up 3 for get"],
        ),
        step("no replica here", Loads(Place::Replica, vec![]), NONE),
        step("nothing written before", Loads(Place::Own, vec![]), NONE),
        step("one has two values", Finds(1, both()), NONE),
    ]);
    let told = script.give(Finds(2, both()));
    let orders = ["reply 1: conflict one, two of 2", "reply 1: conflict two, one of 2"];
    assert!(told[0] == "stop looking" && orders.contains(&&*told[1]), "{told:?}");
    let stats = script.kv.stats();
    assert_eq!((stats.conflicts, stats.puts_written, stats.commands_active), (1, 0, 0));
}

#[test]
fn two_replicas_that_hold_future_dated_envelopes_show_that_the_clock_is_behind() {
    let early = || vec![dated(8, "early", 6 * MINUTE)];
    let read = |second: Vec<potluck_record::Envelope>, end: &[&str]| {
        let mut script = Script::client();
        script.give(Puts(1, put()));
        script.play([
            step("no replica here", Loads(Place::Replica, vec![]), NONE),
            step("nothing written before", Loads(Place::Own, vec![]), NONE),
            step("one is ahead", Finds(1, early()), NONE),
            step("another", Finds(2, second), NONE),
            step("the read is over", Ends(vec![1, 2, 3]), end),
        ]);
    };
    read(vec![], &["merge own: new"]);
    let clock =
        "reply 1: this node's clock is minutes behind the records that are kept; set the clock";
    read(early(), &[clock]);
}

#[test]
fn an_own_envelope_from_a_clock_that_ran_ahead_is_taken_back_unless_others_have_it() {
    let early = || dated(0, "early", 6 * MINUTE);
    let write = |found: Vec<potluck_record::Envelope>, end: &[&str]| {
        let mut script = Script::client();
        script.give(Puts(1, crate::samples::blind("new")));
        script.play([
            step("no replica here", Loads(Place::Replica, vec![]), NONE),
            step("it wrote early", Loads(Place::Own, vec![early()]), NONE),
            step("one answers", Finds(1, found), NONE),
            step("the read is over", Ends(vec![1, 2, 3]), end),
        ]);
    };
    let taken_back =
        ["take back own for nothing", "take back replica for nothing", "merge own: early, new"];
    // That another writer's envelope is ahead as well says nothing of this one.
    write(vec![dated(8, "theirs", 6 * MINUTE), value(0, "mine")], &taken_back);
    write(
        vec![],
        &["take back own for nothing", "take back replica for nothing", "merge own: early, new"],
    );
    let clock =
        "reply 1: this node's clock is minutes behind the records that are kept; set the clock";
    write(vec![early()], &[clock]);
}

#[test]
fn an_envelope_under_its_key_that_this_process_did_not_sign_ends_all_writes() {
    let lost = |id: u64| {
        format!(
            "reply {id}: another machine writes with this node's identity, or an older copy of its \
             data folder was put back; this node writes nothing any more"
        )
    };
    let older = |held| Response::Stored {
        outcomes: vec![StoreOutcome::Older { digest: StateDigest::EMPTY, held }],
    };
    let mut script = Script::client();
    script.play(until_stored(put()));
    let foreign = EnvelopeId { dot: value(0, "theirs").head().dot(), digest: [7; 16] };
    script.play([
        step(
            "one says that it keeps another one, so the key is read",
            Answers(1, older(foreign)),
            &["load replica", "load own", "look up 3 for get"],
        ),
        step("one stores it", Stores(2), NONE),
        step("one more says so", Answers(3, older(foreign)), &["foreign write", &lost(1)]),
        step("none is begun any more", Puts(2, put()), &[&lost(2)]),
    ]);
    assert_eq!(script.kv.stats().foreign_writes, 1);
    // What one says is proven if the read finds the envelope.
    let mut script = Script::client();
    script.play(until_stored(put()));
    script.give(Answers(1, older(foreign)));
    script.give(Loads(Place::Replica, vec![]));
    script.give(LoadsSigned);
    let found = vec![dated(0, "theirs", Duration::from_secs(1))];
    script.give(Finds(1, found.clone()));
    script.play([step(
        "two replicas show it",
        Finds(2, found),
        &["stop looking", "foreign write"],
    )]);
    // One that this process signed carries the write, or supersedes it.
    let mut script = Script::client();
    script.play(until_stored(put()));
    let signed = script.signed()[0].head().id();
    script.play([
        step("it is the same", Answers(1, older(signed)), NONE),
        step("again", Answers(3, older(signed)), &["reply 1: written, 2 of 3 acknowledged"]),
    ]);
    // It is met while reading as well, if it is newer than the own one.
    for (own, found, end) in [
        (vec![], value(0, "theirs"), vec!["foreign write".to_owned(), lost(1)]),
        (vec![value(0, "mine")], value(0, "mine"), vec!["merge own: new".to_owned()]),
        (vec![superseding(0, "mine", &[])], value(0, "older"), vec!["merge own: new".to_owned()]),
    ] {
        let mut script = Script::client();
        script.give(Puts(1, put()));
        script.play([
            step("no replica here", Loads(Place::Replica, vec![]), NONE),
            step("what it wrote", Loads(Place::Own, own), NONE),
            step("what one keeps", Finds(1, vec![found]), NONE),
        ]);
        assert_eq!(script.give(Ends(vec![1, 2, 3])), end);
    }
}

#[test]
fn a_disk_that_fails_ends_a_write_where_nothing_else_can_serve() {
    let reads = || {
        let mut script = Script::client();
        script.give(Puts(1, put()));
        script
    };
    let stopped = "reply 1: the store stopped after a disk error";
    reads().play([step(
        "stopped",
        Fails(Place::Replica, StorageFailure::Stopped),
        &["stop looking", stopped],
    )]);
    let mut script = reads();
    script.play([
        step("damaged", Fails(Place::Replica, StorageFailure::Corrupt), NONE),
        step("damaged as well", Fails(Place::Own, StorageFailure::Corrupt), NONE),
        step("the replicas have it", Finds(1, vec![value(8, "old")]), NONE),
        step("the read is over", Ends(vec![1, 2, 3]), &["load own"]),
        step(
            "its own is needed",
            Fails(Place::Own, StorageFailure::Corrupt),
            &["reply 1: a stored record is damaged"],
        ),
    ]);
    let mut script = reads();
    script.play([
        step("no replica here", Loads(Place::Replica, vec![]), NONE),
        step("nothing written before", Loads(Place::Own, vec![]), NONE),
        step("a replica has it", Finds(1, vec![value(8, "old")]), NONE),
        step("the read is over", Ends(vec![1, 2, 3]), &["merge own: new"]),
        step(
            "no room",
            Fails(Place::Own, StorageFailure::Full),
            &["reply 1: no space left for records"],
        ),
    ]);
    assert_eq!(script.kv.stats().commands_active, 0);
}

#[test]
fn a_replica_that_has_what_was_merged_counts_as_one_that_answered() {
    let old = || vec![value(8, "old")];
    let mut script = Script::client();
    script.give(Puts(1, put()));
    script.play([
        step("no replica here", Loads(Place::Replica, vec![]), NONE),
        step("nothing written before", Loads(Place::Own, vec![]), NONE),
        step("one has it", Finds(1, old()), NONE),
        step("one has no room to say it", Claims(2, digest(&old())), NONE),
        step("one has more", Claims(3, digest(&[value(7, "more")])), &["call 3 for a page"]),
    ]);
    // An answer for another key is discarded as a whole.
    let strange = envelope(7, "strange", |draft| {
        draft.name = Some(potluck_record::Name::new("b").expect("a name"));
    });
    script.play([step("one answers for another key", Finds(4, vec![strange]), NONE)]);
    assert_eq!(script.kv.stats().answers_bad, 1);
}

#[test]
fn a_command_ends_with_an_answer_or_with_its_timer() {
    let mut script = Script::client();
    script.play(until_stored(put()));
    let deadline = script.kv.poll_timeout().expect("a deadline");
    assert_eq!(deadline.why, "put hedge");
    script.play([
        step("none answers", Silent(1), &["ask 4 to store new"]),
        step("the next neither", Silent(2), &["ask 5 to store new"]),
        step("nor the next", Silent(3), NONE),
        step("nor the next", Silent(4), NONE),
        step("nor the last", Silent(5), &["reply 1: only 0 of the 2 replicas needed acknowledged"]),
        step("an unknown answer is none", Other(Input::Timeout), NONE),
    ]);
    assert_eq!(script.kv.stats().taken_back, 0, "one of them may have stored it");
}

#[test]
fn a_clock_that_differs_from_the_peers_by_more_than_five_minutes_writes_nothing() {
    let wall = crate::samples::WALL;
    for (offset, writes) in [(300_000, true), (-300_000, true), (300_001, false), (-300_001, false)]
    {
        let mut script = Script::client();
        script.give(Other(Input::WallClock { now: wall, offset }));
        let begins = script.give(Puts(1, put())).len() == 3;
        assert_eq!(begins, writes, "{offset}");
    }
}
