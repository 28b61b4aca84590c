//! Fetches of states that do not fit into an answer, page by page and once per digest.

use std::time::Duration;

use potluck_record::{Envelope, Place, StateDigest};
use potluck_wire::{Loaded, Response};

use crate::samples::{digest, new, new_texts, old, page, put};
use crate::script::{
    Given::{Answers, Claims, Ends, EndsLast, Finds, Get, Loads, Page, Put, Silent, Until},
    Script, step,
};

const NONE: &[&str] = &[];

/// A read of which three replicas claim these digests.
fn claims(digests: [StateDigest; 3]) -> Script {
    let mut script = Script::client();
    script.give(Get(1));
    script.give(Loads(Place::Replica, vec![]));
    script.give(Loads(Place::Own, vec![]));
    for (node, digest) in (1..).zip(digests) {
        script.give(Claims(node, digest));
    }
    script
}

#[test]
fn replicas_with_one_digest_are_asked_once() {
    let mut script = claims([digest(&new()); 3]);
    script.play([step(
        "one proves it for all",
        Page(1, page(&new(), 1)),
        &["stop looking", "reply 1: read new of 3"],
    )]);
    assert_eq!(script.kv.stats().answers_bad, 0);
}

#[test]
fn a_replica_that_lied_about_its_digest_proves_nothing_for_the_others() {
    let mut script = claims([digest(&new()); 3]);
    let repairs = format!("ask 1 to store {}", new_texts());
    script.play([
        step("one holds less than it claimed", Page(1, page(&old(), 1)), &["call 2 for a page"]),
        step(
            "the next one holds it",
            Page(2, page(&new(), 1)),
            &["stop looking", "reply 1: read new of 3", &repairs],
        ),
    ]);
}

#[test]
fn the_next_replica_is_asked_when_one_is_silent() {
    let mut script = claims([digest(&new()); 3]);
    script.play([
        step("silent", Silent(1), &["call 2 for a page"]),
        step("an answer to something else", Answers(2, Response::Pong), &["call 3 for a page"]),
        step("the last one", Page(3, page(&new(), 1)), NONE),
        step(
            "one holder does if the others are silent",
            Ends(vec![1, 2, 3]),
            &["reply 1: read new of 1"],
        ),
    ]);
}

#[test]
fn replicas_with_different_digests_are_asked_at_once() {
    let mut script = Script::client();
    script.give(Get(1));
    script.play([
        step("one", Claims(1, digest(&new())), &["call 1 for a page"]),
        step("another", Claims(2, digest(&old())), &["call 2 for a page"]),
    ]);
}

#[test]
fn a_state_is_fetched_page_by_page_in_the_order_of_writers() {
    let all = new();
    let mut script = Script::client();
    script.give(Get(1));
    script.give(Loads(Place::Replica, vec![]));
    script.give(Loads(Place::Own, vec![]));
    script.give(Claims(1, digest(&all)));
    script.play([
        step("the first page", Page(1, page(&all[..1], 0)), &["call 1 for the next page"]),
        step("the last one", Page(1, page(&all[1..], 1)), NONE),
    ]);
    assert_eq!(script.give(Ends(vec![1]))[0], "reply 1: read new of 1");
    let strange = [all[1].clone(), all[0].clone()];
    for (case, pages) in [
        ("writers descend", vec![page(&strange, 1)]),
        ("a writer comes twice", vec![page(&all[..1], 0), page(&all[..1], 0)]),
        ("an empty page that is not the last", vec![page(&[], 0)]),
        (
            "no envelope at all",
            vec![Loaded {
                envelopes: vec![bytes::Bytes::from_static(b"nothing")],
                keys_done: 1,
                ..Loaded::default()
            }],
        ),
    ] {
        let mut script = Script::client();
        script.give(Get(1));
        script.give(Loads(Place::Replica, vec![]));
        script.give(Loads(Place::Own, vec![]));
        script.give(Finds(2, vec![]));
        script.give(Finds(3, vec![]));
        script.give(Claims(1, digest(&all)));
        for page in pages {
            script.give(Page(1, page));
        }
        let unread = "reply 1: only 2 of the 2 replicas needed answered";
        let again = "look up 7 for wider: disputed";
        assert_eq!(script.give(Ends(vec![1, 2, 3])), [again], "{case}");
        assert_eq!(script.give(EndsLast(vec![1, 2, 3])), ["ask 1 for a page"], "{case}");
        assert_eq!(script.give(Silent(1)), [unread], "{case}");
    }
}

#[test]
fn a_record_of_more_than_32_pages_is_not_fetched() {
    // The writers' signatures are not looked at before the last page.
    let mut all: Vec<Envelope> = (0..40_u8)
        .map(|number| {
            let identity = potluck_base::Identity::from_seed([100 + number; 32]);
            let draft = potluck_record::Draft {
                space: potluck_record::Space::Commons,
                name: put().name,
                kind: potluck_record::Kind::Siblings,
                values: vec![],
                dot: crate::samples::dot(crate::samples::WALL),
                context: potluck_record::Context::new(),
                expires: crate::samples::WALL.plus(crate::samples::MINUTE),
                certificate: None,
            };
            Envelope::sign(&identity, &crate::samples::network(), draft).expect("an envelope")
        })
        .collect();
    all.sort_by_key(|envelope| *envelope.head().writer().as_bytes());
    let mut script = claims([digest(&all), StateDigest::EMPTY, StateDigest::EMPTY]);
    let pages = all.iter().take_while(|one| {
        script.give(Page(1, page(std::slice::from_ref(*one), 0))) == ["call 1 for the next page"]
    });
    assert_eq!(pages.count(), 31, "the 32nd page would have to be the last");
}

#[test]
fn fetches_that_are_abandoned_leave_a_record_unknown() {
    let mut script = Script::client();
    script.give(Put(1, put()));
    script.give(Loads(Place::Replica, vec![]));
    script.give(Loads(Place::Own, vec![]));
    script.give(Finds(1, vec![]));
    script.give(Finds(2, vec![]));
    script.give(Claims(3, digest(&new())));
    script.play([
        step("a second one waits for the first", Claims(4, digest(&new())), NONE),
        step("the lookup is over", Ends(vec![1, 2, 3]), NONE),
        step(
            "two have not told",
            Until(Duration::from_secs(5)),
            &["reply 1: only 2 of the 2 replicas needed answered"],
        ),
        step("what comes later is dropped", Page(3, page(&new(), 1)), NONE),
    ]);
}
