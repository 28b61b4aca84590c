//! The contract of the timer, held by the record store alone: an early wake-up changes nothing, and after
//! a wake-up the next deadline is later.

use std::time::Duration;

use potluck_base::machine::check_timer_contract;
use potluck_base::{Instant, Machine as _};
use potluck_kv::Input;
use potluck_record::{Place, StateDigest};

use crate::samples::{key, peer, put, value};
use crate::script::{
    Given::{Ends, Finds, Get, Inspect, Loads, Merges, Other, Put, Scans},
    Script,
};

/// Wakes the store at its deadlines for two minutes, and returns the reasons.
fn reasons(mut script: Script) -> Vec<&'static str> {
    let start = Instant::ZERO + Duration::from_secs(1);
    let (mut now, mut reasons) = (start, Vec::new());
    while now < start + Duration::from_secs(120) {
        let why = script.kv.poll_timeout().expect("it always has a deadline").why;
        let (at, _) =
            check_timer_contract(&mut script.kv, now, || Input::Timeout).expect("a deadline");
        now = at;
        if !reasons.contains(&why) {
            reasons.push(why);
        }
    }
    reasons
}

#[test]
fn a_store_at_rest_sweeps_and_one_that_serves_makes_its_index() {
    let sorted = |script| {
        let mut reasons = reasons(script);
        reasons.sort_unstable();
        reasons
    };
    assert_eq!(sorted(Script::client()), ["expire", "own records"]);
    let serving = ["expire", "index of fingerprints", "own records", "surplus"];
    assert_eq!(sorted(Script::replica()), serving);
}

#[test]
fn each_command_under_way_has_its_deadline() {
    let mut script = Script::client();
    script.give(Get(1));
    assert_eq!(reasons(script)[0], "get");
    let mut script = Script::client();
    script.give(Inspect(1));
    assert_eq!(reasons(script)[0], "replicas");
    let mut script = Script::client();
    script.give(Put(1, put()));
    assert_eq!(reasons(script)[0], "put reads");
    let mut script = Script::client();
    script.give(Put(1, put()));
    script.give(Loads(Place::Replica, vec![]));
    script.give(Loads(Place::Own, vec![]));
    script.give(Finds(1, vec![value(8, "old")]));
    assert_eq!(reasons(script)[..2], ["put reads", "put"]);
    let mut script = Script::client();
    script.give(Put(1, put()));
    script.give(Loads(Place::Replica, vec![]));
    script.give(Loads(Place::Own, vec![]));
    script.give(Finds(1, vec![value(8, "old")]));
    script.give(Ends(vec![1, 2, 3]));
    script.give(Merges(Place::Own));
    assert_eq!(reasons(script)[0], "put");
}

#[test]
fn repairs_offers_and_leaving_have_theirs() {
    let mut script = Script::replica();
    script.give(Other(Input::CloseGroup((1..=4).map(peer).collect())));
    assert_eq!(reasons(script)[0], "repair");
    let mut script = Script::replica();
    script.give(Other(Input::CloseGroup((1..=4).map(peer).collect())));
    script.give(Other(Input::Leave));
    script.give(Scans(vec![(key(), StateDigest::EMPTY)]));
    assert_eq!(reasons(script)[0], "leave");
}
