//! Inspections: what each replica holds beside the others, and what this node holds itself.

use std::time::Duration;

use potluck_base::{Instant, Machine as _};
use potluck_kv::{Command, CommandId, Input, Output, Reply};
use potluck_record::{Envelope, OpId, Place, StorageFailure, StorageReply};

use crate::samples::{digest, key, new, old, page, peer, value};
use crate::script::{
    Given::{Claims, Ends, Finds, Inspect, Loads, Other, Page, Scans, Until},
    Script, step,
};

const NONE: &[&str] = &[];

fn inspects() -> Script {
    let mut script = Script::replica();
    script.kv.handle(Instant::ZERO, Input::CloseGroup((1..=8).map(peer).collect()));
    script.give(Until(Duration::from_secs(1)));
    script.give(Scans(vec![]));
    script.play([step("it asks", Inspect(1), &["load replica", "look up 3 for replicas"])]);
    script
}

#[test]
fn each_replica_is_compared_with_all_that_is_held() {
    let reply = |own, first, second| {
        let mut script = inspects();
        script.give(Loads(Place::Replica, own));
        script.give(Finds(1, first));
        script.give(Finds(2, second));
        script.give(Ends(vec![1, 2, 3, 4])).concat()
    };
    let missing = "reply 1: itself equal, 1 behind, 2 missing";
    assert_eq!(reply(new(), old(), vec![]), missing);
    let nothing = "reply 1: itself equal, 1 equal, 2 equal";
    assert_eq!(reply(vec![], vec![], vec![]), nothing);
    let both = || [new(), vec![value(6, "beside")]].concat();
    let concurrent = "reply 1: itself equal, 1 concurrent, 2 behind";
    assert_eq!(reply(both(), vec![value(6, "beside")], old()), concurrent);
    let each = "reply 1: itself concurrent, 1 concurrent, 2 equal";
    let two = vec![value(6, "beside"), value(5, "more")];
    assert_eq!(reply(vec![value(6, "beside")], vec![value(5, "more")], two), each);
}

#[test]
fn a_replica_that_does_not_answer_is_unreachable() {
    let mut script = inspects();
    script.play([
        step("its own", Loads(Place::Replica, old()), NONE),
        step("one answers", Finds(2, old()), NONE),
        step(
            "the closest one does not",
            Ends(vec![2, 3]),
            &["reply 1: itself equal, 1 unreachable, 2 equal"],
        ),
    ]);
}

#[test]
fn a_state_that_is_only_claimed_is_fetched() {
    let mut script = inspects();
    script.play([
        step("its own", Loads(Place::Replica, old()), NONE),
        step("one claims the same", Claims(1, digest(&old())), &["call 1 for a page"]),
        step("another as well", Claims(2, digest(&old())), NONE),
        step("the lookup is over", Ends(vec![1, 2, 3]), NONE),
        step("it holds it", Page(1, page(&old(), 1)), &["reply 1: itself equal, 1 equal, 2 equal"]),
    ]);
    let mut script = inspects();
    script.play([
        step("its own", Loads(Place::Replica, old()), NONE),
        step("one claims the same", Claims(1, digest(&old())), &["call 1 for a page"]),
        step("the lookup is over", Ends(vec![1, 2, 3]), NONE),
        step(
            "too late",
            Until(Duration::from_secs(6)),
            &["reply 1: itself equal, 1 unreachable, 2 unreachable"],
        ),
    ]);
    assert_eq!(script.kv.stats().commands_active, 0);
}

#[test]
fn what_this_node_holds_is_shown_with_its_size_and_version() {
    let held = |reply| {
        let mut script = Script::replica();
        script.kv.handle(Instant::ZERO, Input::CloseGroup(vec![peer(1)]));
        let command = Command::Local { key: key() };
        script.kv.handle(Instant::ZERO, Input::Command { id: CommandId(1), command });
        let Some(Output::Storage { id: OpId(id), .. }) = script.kv.poll_output() else {
            panic!("it loads its replica")
        };
        script.kv.handle(Instant::ZERO, Input::Stored { id: OpId(id), reply });
        match script.kv.poll_output() {
            Some(Output::Reply { reply: Reply::Local(held), .. }) => held,
            other => panic!("{other:?}"),
        }
    };
    let loaded = held(StorageReply::Loaded { envelopes: new() });
    assert!(loaded.present && loaded.responsible);
    assert_eq!((loaded.siblings, loaded.version.len()), (1, 2));
    assert_eq!(loaded.kind, Some(potluck_record::Kind::Siblings));
    let bytes: usize = new().iter().map(Envelope::encoded_len).sum();
    assert_eq!((loaded.bytes, loaded.expires), (bytes, Some(old()[0].head().expires())));
    let nothing = held(StorageReply::Loaded { envelopes: vec![] });
    assert!(!nothing.present && nothing.responsible && nothing.expires.is_none());
    let failed = held(StorageReply::Failed(StorageFailure::Stopped));
    assert!(!failed.present && failed.responsible);
}

#[test]
fn a_client_is_no_replica_itself() {
    let mut script = Script::client();
    script.give(Other(Input::CloseGroup((1..=8).map(peer).collect())));
    script.give(Inspect(1));
    script.play([
        step("it holds nothing", Loads(Place::Replica, vec![]), NONE),
        step(
            "no node answers",
            Ends(vec![]),
            &["reply 1: 1 unreachable, 2 unreachable, 3 unreachable"],
        ),
    ]);
}
