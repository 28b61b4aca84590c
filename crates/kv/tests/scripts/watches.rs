//! Watches, from both sides: what is reported and when, where leases are held, and what a holder tells.

use std::time::Duration;

use potluck_base::Key;
use potluck_kv::{Command, CommandId, Config, Input, PeerRequest, ServeId, WatchConfig};
use potluck_record::{Envelope, Merged, Place, StateDigest, StorageReply};
use potluck_wire::{Changed, Contacts, Refusal, Request, Response, WatchRequest, Watching};

use crate::holder::{holder, other_key};
use crate::samples::{
    WALL, config, dated, digest, dot, envelope, key, peer, store, superseding, value,
};
use crate::script::{
    Given,
    Given::{
        Answers, Asked, Ends, FailsToScan, Finds, Loads, Merges, Other, Outcome, Scans, Silent,
        Until,
    },
    Script, step,
};

const NONE: &[&str] = &[];
/// The pause after a read, by which a watcher has rested when the tests begin.
const REST: Duration = Duration::from_millis(200);
const READ: &[&str] = &["load replica", "load own", "look up 3 for watch"];

fn watch(id: u64) -> Given {
    let command = Command::Watch { key: key() };
    Other(Input::Command { id: CommandId(id), command })
}

fn unwatch(id: u64) -> Given {
    let command = Command::Unwatch { key: key() };
    Other(Input::Command { id: CommandId(id), command })
}

fn granted(from: u8, held: &[Envelope], changes: u64) -> Given {
    let watching = Watching { millis: 300_000, digest: digest(held), changes };
    Answers(from, Response::Watching(watching))
}

fn changed(from: u8, held: &[Envelope], changes: u64) -> Given {
    let changed = Changed { key: key(), digest: digest(held), changes, ended: false };
    Asked(from, Request::Watch(WatchRequest::Changed(changed)))
}

fn lease(from: u8, key: Key, millis: u32) -> Given {
    Asked(from, Request::Watch(WatchRequest::Lease { key, millis }))
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What the writer of `before` wrote over it this long after the beginning.
fn next(text: &'static str, at: Duration, before: &Envelope) -> Envelope {
    envelope(8, text, |draft| {
        draft.dot = dot(WALL.plus(at));
        draft.values[0].0 = draft.dot;
        draft.context = [(before.head().writer(), before.head().dot())].into_iter().collect();
    })
}

/// Answers a read of a client in which these nodes hold this; the lookup goes on.
fn answered(script: &mut Script, held: &[(u8, &[Envelope])]) -> Vec<String> {
    let mut did = script.give(Loads(Place::Replica, vec![]));
    did.extend(script.give(Loads(Place::Own, vec![])));
    for (from, envelopes) in held {
        did.extend(script.give(Finds(*from, envelopes.to_vec())));
    }
    did
}

/// A client with leases of five minutes at the three holders of one value.
fn watcher(held: &Envelope) -> Script {
    watcher_for(held, Duration::from_secs(300))
}

fn watcher_for(held: &Envelope, lease: Duration) -> Script {
    let watched = WatchConfig { lease, ..WatchConfig::default() };
    let mut script = Script::with(false, Config { watch: watched, ..config() });
    let all = std::slice::from_ref(held);
    script.play([step("it reads from all", watch(1), READ)]);
    assert_eq!(answered(&mut script, &[(1, all), (2, all), (3, all)]), NONE);
    let did = script.give(Ends(vec![1, 2, 3, 4]));
    let lease = lease.as_secs();
    let asks = (1..=3).map(|holder| format!("ask {holder} for a lease of {lease} s"));
    assert_eq!(did, asks.chain(["reply 1: watching a".to_owned()]).collect::<Vec<_>>());
    for holder in 1..=3 {
        let watching = Watching { millis: 7_200_000, digest: digest(all), changes: 0 };
        assert_eq!(script.give(Answers(holder, Response::Watching(watching))), NONE);
    }
    script.play([step("it has rested", Until(REST), NONE)]);
    script
}

#[test]
fn a_change_is_read_and_reported_once() {
    let (a, b) = (value(8, "a"), dated(8, "b", Duration::ZERO));
    let mut script = watcher(&a);
    let new = std::slice::from_ref(&b);
    let told = [&["respond Taken"], READ].concat();
    script.play([step("a holder tells", changed(1, new, 1), &told)]);
    assert_eq!(answered(&mut script, &[(1, new)]), NONE);
    script.play([
        step("two agree", Finds(2, vec![b.clone()]), &["stop looking", "report b"]),
        step("the others tell of the same", changed(2, new, 1), &["respond Taken"]),
        step("and it is told again", changed(1, new, 1), &["respond Taken"]),
        step("of a node without a lease", changed(4, new, 1), &["respond not held"]),
        step("another watcher has it at once", watch(2), &["reply 2: watching b"]),
        step(
            "the watch ends",
            unwatch(3),
            &[
                "ask 1 to end the lease",
                "ask 2 to end the lease",
                "ask 3 to end the lease",
                "reply 3: unwatched",
            ],
        ),
        step("what comes late is not wanted", changed(3, new, 1), &["respond not held"]),
    ]);
}

#[test]
fn stale_replicas_do_not_bring_an_old_value_back() {
    let (a, b) = (value(8, "a"), dated(8, "b", Duration::ZERO));
    let (old, new) = (std::slice::from_ref(&a), std::slice::from_ref(&b));
    let mut script = watcher(&a);
    script.give(changed(1, new, 1));
    let did = answered(&mut script, &[(2, old), (3, old)]);
    assert_eq!(did, ["stop looking"], "two stale ones agree: nothing to report");
    script.play([step("it reads again, from all", Until(millis(800)), READ)]);
    assert_eq!(answered(&mut script, &[(1, new), (2, old), (3, old)]), NONE);
    let did = script.give(Ends(vec![1, 2, 3]));
    assert_eq!(did, ["ask 2 to store b", "ask 3 to store b", "report b"]);
    // Now the two closest lie behind again.
    script.give(changed(1, &[value(7, "other")], 2));
    script.play([step("a claim", Until(millis(1600)), READ)]);
    let did = answered(&mut script, &[(2, old), (3, old)]);
    assert!(did.iter().all(|did| !did.starts_with("report")), "{did:?}");
}

#[test]
fn changes_that_follow_each_other_fast_are_one_report_with_a_gap() {
    let a = value(8, "a");
    let b = next("b", millis(1), &a);
    let c = next("c", millis(2), &b);
    let d = next("d", millis(3), &c);
    let mut script = watcher(&a);
    script.give(changed(1, std::slice::from_ref(&c), 2));
    let new = std::slice::from_ref(&c);
    answered(&mut script, &[(1, new)]);
    script.play([
        step(
            "b was not read",
            Finds(2, vec![c.clone()]),
            &["stop looking", "report c, AtLeast(1) before"],
        ),
        step("the slow one tells of b", changed(2, &[b], 1), &["respond Taken"]),
        step("it rests between two reads", Until(millis(399)), NONE),
        step("it reads", Until(millis(400)), READ),
    ]);
    answered(&mut script, &[(1, new)]);
    script.play([
        step("nothing new", Finds(2, vec![c]), &["stop looking"]),
        step(
            "d follows c at the fast one",
            changed(1, std::slice::from_ref(&d), 3),
            &["respond Taken"],
        ),
        step("a rest", Until(millis(800)), READ),
    ]);
    let new = std::slice::from_ref(&d);
    answered(&mut script, &[(1, new), (2, new), (3, new)]);
    script.play([step("no gap", Ends(vec![1, 2, 3]), &["report d"])]);
}

#[test]
fn siblings_and_a_deletion_are_changes() {
    let (a, b) = (value(8, "a"), value(7, "b"));
    let both = [a.clone(), b.clone()];
    let mut script = watcher(&a);
    script.give(changed(1, &both, 1));
    answered(&mut script, &[(1, &both)]);
    let did = script.give(Finds(2, both.to_vec()));
    assert!(did[1] == "report a, b" || did[1] == "report b, a", "{did:?}");
    let end = superseding(6, "x", &both);
    let merged = [a, b, end];
    script.give(changed(1, &merged, 2));
    script.give(Until(millis(700)));
    answered(&mut script, &[(1, &merged)]);
    script.play([step("merged", Finds(2, merged.to_vec()), &["stop looking", "report x"])]);
}

#[test]
fn a_value_that_expires_is_reported_without_a_read() {
    let a = value(8, "a");
    let mut script = watcher_for(&a, Duration::from_secs(7200));
    let mut reports = Vec::new();
    for second in (10..=3700).step_by(10) {
        let did = script.give(Until(Duration::from_secs(second)));
        assert!(!did.iter().any(|did| did.starts_with("look up")), "{second} s");
        let is_report = |did: &String| did.starts_with("report");
        reports.extend(did.into_iter().filter(is_report).map(|did| (second, did)));
    }
    assert_eq!(reports, [(3600, "report nothing".to_owned())]);
}

#[test]
fn the_leases_of_lost_holders_go_to_the_next_closest() {
    let a = value(8, "a");
    let all = std::slice::from_ref(&a);
    let mut script = watcher(&a);
    script.play([
        step("no other node is a replica", Other(Input::PeerDown(peer(2).id)), NONE),
        step("half is not enough", Other(Input::PeerDown(peer(3).id)), NONE),
        step("a look soon", Until(Duration::from_secs(5)), READ),
    ]);
    answered(&mut script, &[(1, all), (4, all), (5, all)]);
    script.play([
        step(
            "others are closest",
            Ends(vec![1, 4, 5]),
            &["ask 4 for a lease of 300 s", "ask 5 for a lease of 300 s"],
        ),
        step("confirmed", granted(4, all, 0), NONE),
        step("refused", Answers(5, Response::refused(Refusal::Full)), NONE),
        step("a closer one is back", Other(Input::PeerUp(peer(2))), NONE),
        step("a look", Until(Duration::from_secs(9)), READ),
    ]);
    answered(&mut script, &[(1, all), (2, all), (4, all)]);
    script.play([step("moved", Ends(vec![1, 2, 4]), &["ask 2 for a lease of 300 s"])]);
}

#[test]
fn without_half_of_the_leases_the_key_is_read_again_and_again() {
    let a = value(8, "a");
    let all = std::slice::from_ref(&a);
    let mut script = Script::client();
    script.give(watch(1));
    answered(&mut script, &[(1, all), (2, all), (3, all)]);
    script.give(Ends(vec![1, 2, 3]));
    for from in 1..=3 {
        script.give(Answers(from, Response::unsupported()));
    }
    assert_eq!(script.kv.stats().watches_polling, 1);
    let mut looks = Vec::new();
    for second in 1..300 {
        let did = script.give(Until(Duration::from_secs(second)));
        if did.iter().any(|did| did.starts_with("look up")) {
            looks.push(second);
            let unseen = next("b", millis(1), &a);
            let new = next("c", millis(2), &unseen);
            let held = if looks.len() == 3 { vec![new] } else { all.to_vec() };
            answered(&mut script, &[(1, &held), (2, &held), (3, &held)]);
            let did = script.give(Ends(vec![1, 2, 3]));
            let reported = did.iter().any(|did| did.contains("report c, AtLeast(1) before"));
            assert_eq!(reported, looks.len() == 3, "{did:?}");
            for from in 1..=3 {
                script.give(Silent(from));
            }
        }
    }
    let pauses: Vec<u64> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.len() >= 4 && pauses.iter().all(|pause| (14..=62).contains(pause)), "{looks:?}");
}

#[test]
fn leases_are_renewed_at_half_of_their_time() {
    let mut script = watcher(&value(8, "a"));
    let mut renewed = Vec::new();
    for second in 1..=200 {
        let did = script.give(Until(Duration::from_secs(second)));
        renewed.extend(did.iter().filter(|did| did.contains("for a lease")).map(|_| second));
    }
    assert_eq!(renewed.len(), 3);
    assert!(renewed.iter().all(|second| (135..=166).contains(second)), "{renewed:?}");
}

#[test]
fn a_watch_that_cannot_be_read_fails_and_keys_are_bounded() {
    let limited = WatchConfig { keys_max: 1, ..WatchConfig::default() };
    let mut script = Script::with(false, Config { watch: limited, ..config() });
    script.give(watch(1));
    script.give(watch(2));
    answered(&mut script, &[]);
    let failed = "only 0 of the 2 replicas needed answered";
    script.play([
        step(
            "no answer",
            Ends(vec![]),
            &[&format!("reply 1: {failed}"), &format!("reply 2: {failed}")],
        ),
        step("once more", watch(3), READ),
    ]);
    let command = Command::Watch { key: other_key(1) };
    let refused = "reply 4: this node watches as many records as it may; end another watch";
    script.play([step(
        "another key",
        Other(Input::Command { id: CommandId(4), command }),
        &[refused],
    )]);
    assert_eq!(script.kv.stats().watches, 1);
}

#[test]
fn a_replica_reports_its_own_changes_without_a_read() {
    let b = dated(8, "b", Duration::ZERO);
    let mut script = holder();
    script.play([step("it reads", watch(1), READ)]);
    answered(&mut script, &[(1, &[]), (2, &[])]);
    script.give(Ends(vec![1, 2, 3]));
    let stored =
        StorageReply::Merged { outcome: Merged::New, digest: digest(std::slice::from_ref(&b)) };
    script.play([
        step("a writer stores", Asked(8, store(std::slice::from_ref(&b))), &["merge replica: b"]),
        step("it is durable", Outcome(Place::Replica, stored), &["load replica", "respond stored"]),
    ]);
    let did = script.give(Loads(Place::Replica, vec![b]));
    assert!(did.iter().any(|did| did.starts_with("report b")), "{did:?}");
}

/// A holder with a lease of node 8.
fn leased() -> Script {
    let mut script = holder();
    script.play([
        step("it looks what it holds", lease(8, key(), 400_000), &["scan"]),
        step("granted", Scans(vec![]), &["respond a lease of 300 s, 0 changes"]),
    ]);
    script
}

fn stores(script: &mut Script, text: &'static str) -> Vec<String> {
    script.give(Asked(7, store(&[value(7, text)])));
    script.give(Merges(Place::Replica))
}

#[test]
fn a_holder_tells_of_each_change_and_counts_those_in_between() {
    let mut script = leased();
    let did = stores(&mut script, "a");
    assert_eq!(did, ["ask 8 to note change 1", "respond stored"]);
    assert_eq!(stores(&mut script, "b"), ["respond stored"], "one is under way");
    assert_eq!(stores(&mut script, "c"), ["respond stored"]);
    script.play([
        step("a pause between two", Answers(8, Response::Taken), NONE),
        step("not yet", Until(millis(1199)), NONE),
        step("two more", Until(millis(1200)), &["ask 8 to note change 3"]),
        step("taken", Answers(8, Response::Taken), NONE),
        step("renewed", lease(8, key(), 1000), &["scan"]),
        step("it still counts", Scans(vec![]), &["respond a lease of 1 s, 3 changes"]),
        step("ended", lease(8, key(), 0), &["respond a lease of 0 s, 0 changes"]),
    ]);
    assert_eq!(stores(&mut script, "d"), ["respond stored"]);
    assert_eq!(script.kv.stats().watch_leases, 0);
}

#[test]
fn a_watcher_that_does_not_answer_three_times_loses_its_lease() {
    let mut script = leased();
    stores(&mut script, "a");
    script.play([step("silent", Silent(8), NONE)]);
    let told = |script: &mut Script, at| {
        let did = script.give(Until(millis(at)));
        did.iter().filter(|did| *did == "ask 8 to note change 1").count()
    };
    assert_eq!((told(&mut script, 2999), told(&mut script, 3000)), (0, 1));
    script.give(Answers(8, Response::refused(Refusal::Busy)));
    assert_eq!((told(&mut script, 6999), told(&mut script, 7000)), (0, 1));
    script.give(Silent(8));
    assert_eq!((script.kv.stats().watch_leases, script.kv.stats().watch_leases_dropped), (0, 1));
    let mut script = leased();
    stores(&mut script, "a");
    script.give(Answers(8, Response::refused(Refusal::NotHeld)));
    assert_eq!(script.kv.stats().watch_leases, 0, "it is not wanted any more");
}

#[test]
fn a_lease_that_ran_out_is_no_lease() {
    let mut script = leased();
    script.give(Until(Duration::from_secs(302)));
    let did = stores(&mut script, "a");
    assert_eq!(did, ["respond stored"]);
    assert_eq!(script.kv.stats().watch_leases, 0);
}

#[test]
fn leases_are_bounded_in_all_and_for_each_peer() {
    let watch = WatchConfig { granted_max: 3, granted_to_peer_max: 2, ..WatchConfig::default() };
    let mut script = Script::with(true, Config { watch, ..config() });
    script.give(Other(Input::CloseGroup((1..=4).map(peer).collect())));
    for (from, number, told) in [
        (8, 0, "scan"),
        (8, 1, "scan"),
        (8, 2, "respond over the member's quota"),
        (8, 1, "scan"),
        (7, 0, "scan"),
        (6, 0, "respond no space left"),
    ] {
        let did = script.give(lease(from, other_key(number), 5000));
        assert_eq!(did, [told], "node {from}, key {number}");
    }
    script.give(Until(Duration::from_secs(6)));
    assert_eq!(script.give(lease(6, key(), 5000)), ["scan"], "those of others ran out");
}

#[test]
fn leases_are_for_proven_peers_at_nodes_that_keep_the_key() {
    let mut script = holder();
    let request = Request::Watch(WatchRequest::Lease { key: key(), millis: 1000 });
    let request = PeerRequest {
        from: peer(8),
        request,
        contacts: Contacts::default(),
        proven: false,
        budget: 1200,
    };
    let unproven = Other(Input::PeerRequest { serve: ServeId(99), request });
    script.play([step("unproven", unproven, &["respond address not proven"])]);
    let far = Key::from_bytes(key().as_bytes().map(|byte| !byte));
    let mut client = Script::client();
    client.play([step("a client", lease(8, key(), 1000), &["respond not serving"])]);
    let mut script = Script::replica();
    script.give(Other(Input::CloseGroup((1..=8).map(peer).collect())));
    script.play([
        step("it is not closest", lease(8, far, 1000), &["respond not responsible for this key"]),
        step("it looks", lease(8, key(), 1000), &["scan"]),
        step(
            "the disk fails",
            FailsToScan(potluck_record::StorageFailure::Stopped),
            &["respond store stopped"],
        ),
    ]);
    assert_eq!(script.kv.stats().watch_leases, 0);
}

#[test]
fn a_holder_that_leaves_or_is_displaced_says_so() {
    let mut script = leased();
    let did = script.give(Other(Input::Leave));
    assert_eq!(did[0], "ask 8 to note change 0, the end");
    // With three nodes each keeps all keys; with nine, this one is the farthest from that key.
    let far = Key::from_bytes(key().as_bytes().map(|byte| !byte));
    let mut script = Script::replica();
    script.give(Other(Input::CloseGroup((1..=2).map(peer).collect())));
    script.give(Until(Duration::from_secs(1)));
    script.give(Scans(vec![]));
    for leased in [key(), far] {
        assert_eq!(script.give(lease(8, leased, 90_000)), ["scan"]);
        script.give(Scans(vec![]));
    }
    script.give(Other(Input::CloseGroup((1..=8).map(peer).collect())));
    let did = script.give(Until(Duration::from_secs(3)));
    let ends = did.iter().filter(|did| *did == "ask 8 to note change 0, the end").count();
    assert_eq!((ends, script.kv.stats().watch_leases), (1, 1), "{did:?}");
}

#[test]
fn a_notification_from_a_holder_that_leaves_moves_the_lease() {
    let a = value(8, "a");
    let mut script = watcher(&a);
    let ended = Changed { key: key(), digest: digest(&[a]), changes: 0, ended: true };
    let request = Request::Watch(WatchRequest::Changed(ended));
    script.play([step("one leaves", Asked(2, request), &["respond Taken"])]);
    let other = Changed { digest: StateDigest::from_bytes([9; 16]), ..ended };
    let request = Request::Watch(WatchRequest::Changed(other));
    script.play([step("it has no lease any more", Asked(2, request), &["respond not held"])]);
}
