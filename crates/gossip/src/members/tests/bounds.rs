//! Limits: version numbers, revocations, lists.

use potluck_base::PublicKey;
use potluck_wire::{MemberRecord, Revocation, Revoked};

use super::super::own_record::{next_incarnation, next_version};
use super::super::revocations::REVOKED_MAX;
use super::*;

#[test]
fn versions_only_grow_and_stop_at_the_last_number() {
    let version = |incarnation, revision| RecordVersion { incarnation, revision };
    let (run, revision) = (u64::MAX, u32::MAX);
    assert_eq!(next_version(version(3, 4)), version(3, 5));
    assert_eq!(
        next_version(version(3, revision)),
        version(4, 0),
        "an incarnation has no further revision"
    );
    assert_eq!(next_incarnation(version(3, 4)), version(4, 0));
    assert_eq!(
        next_incarnation(version(run, 4)),
        version(run, 5),
        "there is no higher incarnation"
    );
    assert_eq!((next_version(version(run, revision)), next_incarnation(version(run, revision))), {
        let last = version(run, revision);
        (last, last)
    });
}

#[test]
fn a_clone_that_used_up_all_numbers_does_not_stop_a_node() {
    let mut cluster = Cluster::of(6);
    for word in [
        RecordVersion { incarnation: u64::MAX, revision: 7 },
        RecordVersion { incarnation: u64::MAX, revision: u32::MAX },
    ] {
        let members = &cluster.nodes[2].members;
        let mut clone = members.own.record.clone();
        clone.version = word;
        let record = clone.sign(&members.own.identity, &members.own.network);
        let payload = Announcement { records: vec![record], ..Announcement::default() }.to_bytes();
        let from = cluster.key(1);
        for at in 0..6 {
            cluster.feed(at, Input::Announced { from, payload: payload.clone() });
        }
        cluster.run(5 * SECOND);
        assert!(
            cluster.nodes[2].members.own.version() >= word,
            "{:?}",
            cluster.nodes[2].members.own.version()
        );
    }
    // It has no newer version, but its traffic shows that it is alive.
    cluster.pause(2);
    cluster.run(20 * SECOND);
    assert_eq!(cluster.who_think(2, MemberState::Dead), 5);
    cluster.resume(2);
    let back =
        cluster.run_until(20 * SECOND, |cluster| cluster.who_think(2, MemberState::Alive) == 5);
    assert!(back.is_some());
}

/// Two machines with one identity answer each version of the other with a newer one.
#[test]
fn a_copy_that_outbids_this_node_is_answered_a_few_times_a_second() {
    let mut cluster = Cluster::of(2);
    let mut answered = 0;
    for _ in 0..50 {
        let members = &cluster.nodes[0].members;
        let mut copy = members.own.record.clone();
        copy.version.incarnation += 1;
        let record = copy.sign(&members.own.identity, &members.own.network);
        let payload = Announcement { records: vec![record], ..Announcement::default() }.to_bytes();
        let from = cluster.key(1);
        cluster.feed(0, Input::Announced { from, payload });
        answered += u32::from(cluster.nodes[0].members.own.version() > copy.version);
    }
    assert!((1..=5).contains(&answered), "{answered} answers");
}

/// Feeds one node a revocation of the authority.
fn revoke(cluster: &mut Cluster, number: u64, at: u64) -> Revoked {
    let mut bytes = [9; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    let subject = Revoked::Member(PublicKey::from_bytes(bytes));
    let revocation = Revocation { subject, at: UnixMillis(at) };
    cluster.feed(0, Input::Revoked { revocation, bytes: vec![1].into(), spread: false });
    subject
}

#[test]
fn the_youngest_revocations_are_kept_and_those_that_are_over_are_not() {
    let mut cluster = Cluster::of(2);
    let room = REVOKED_MAX as u64;
    for number in 0..room + 10 {
        revoke(&mut cluster, number, 1_000 + number);
    }
    let last = revoke(&mut cluster, room + 10, 900_000);
    let stats = cluster.nodes[0].members.stats();
    assert_eq!((stats.revoked, stats.revocations_dropped), (REVOKED_MAX, 11));
    let revoked = &cluster.nodes[0].members.revocations;
    assert!(revoked.contains(&last), "the newest is not the one that is left out");
    // A known revocation changes nothing.
    revoke(&mut cluster, room + 10, 5);
    assert_eq!(cluster.nodes[0].members.revocations.at(&last).map(|at| at.0), Some(900_000));
    // All but the last are over.
    let life = potluck_wire::limits::CERTIFICATE_LIFE_MAX_MS;
    cluster.feed(0, Input::WallClock(UnixMillis(800_000 + 2 * life)));
    cluster.run(60 * SECOND);
    assert_eq!(cluster.nodes[0].members.stats().revoked, 1);
}

/// The number of pages that a newcomer requests of a list with the pages of `answer`, and its counters
/// afterwards.
fn paged(answer: impl Fn(u64, PublicKey) -> Vec<Bytes>) -> (u64, MembersStats) {
    let mut cluster = Cluster::new(MembersConfig::default());
    cluster.add();
    let key = Identity::from_seed([77; 32]).public_key();
    let liar = Contact::new(key, ([10, 0, 9, 9], 7).into());
    let mut now = Instant::ZERO + SECOND;
    let members = &mut cluster.nodes[0].members;
    members.handle(now, Input::Proved(liar));
    let mut pages = 0;
    for _ in 0..20_000 {
        let asked = std::iter::from_fn(|| members.poll_output()).find_map(|output| match output {
            Output::Ask { ask, request: MemberRequest::Page { after }, .. } => Some((ask, after)),
            _ => None,
        });
        let Some((ask, after)) = asked else { break };
        pages += 1;
        now += SECOND / 1000;
        let records = answer(pages, after);
        let response = Response::Member(MemberResponse::Records { records, more: true });
        members.handle(now, Input::Answered { ask, response, rtt: None });
    }
    (pages, cluster.nodes[0].members.stats())
}

fn record_of(cluster: &Cluster, number: u64) -> Bytes {
    let mut seed = [3; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    let identity = Identity::from_seed(seed);
    let mut record = cluster.nodes[0].members.own.record.clone();
    record.contact.public_key = identity.public_key();
    record.sign(&identity, &cluster.nodes[0].members.own.network)
}

#[test]
fn a_newcomer_stops_reading_an_endless_list() {
    let mut cluster = Cluster::new(MembersConfig::default());
    cluster.add();
    // The same page again and again.
    let same = record_of(&cluster, 1);
    let (pages, stats) = paged(|_, _| vec![same.clone()]);
    assert_eq!((pages, stats.pages_refused), (2, 1), "the pages go round");
    // One new member in each page, each behind the last one.
    let mut keys: Vec<(PublicKey, Bytes)> = (0..2_000)
        .map(|number| record_of(&cluster, number))
        .map(|bytes| (MemberRecord::read(&bytes).expect("good").contact.public_key, bytes))
        .collect();
    keys.sort();
    let next = |after: PublicKey| {
        keys.iter().find(|(key, _)| *key > after).map(|(_, bytes)| bytes.clone())
    };
    let (pages, stats) = paged(|_, after| next(after).into_iter().collect());
    assert_eq!((pages, stats.pages_refused), (512, 1), "the list is endless");
    // Bad records are charged.
    let mut bad = same.to_vec();
    let end = bad.len() - 1;
    bad[end] ^= 1;
    let bad = Bytes::from(bad);
    let (pages, stats) = paged(|_, _| vec![bad.clone(); 64]);
    assert!(pages <= 2 && stats.records_bad <= 12, "{pages} pages, {stats:?}");
}
