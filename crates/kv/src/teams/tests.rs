use bytes::Bytes;
use potluck_base::{Admission, Identity, NetworkId, UnixMillis};
use potluck_record::{Context, Draft, Kind, Name};

use super::*;

fn identity(seed: u8) -> Identity {
    Identity::from_seed([seed; 32])
}

fn list(epoch: u64, writers: &[u8]) -> TeamList {
    TeamList {
        owner: identity(1).public_key(),
        name: Name::new("crew").expect("a name"),
        epoch,
        writers: writers.iter().map(|seed| identity(*seed).public_key()).collect(),
    }
}

fn signed(dot: u64, list: &TeamList) -> Envelope {
    let (dot, end) = (Dot::from_raw(dot), UnixMillis(1_000));
    let draft = Draft {
        space: Space::Writers(list.owner),
        name: Some(list.name.clone()),
        kind: Kind::Lww,
        values: vec![(dot, end, Bytes::from(list.encode()))],
        dot,
        context: Context::new(),
        expires: end,
        certificate: None,
    };
    let network = NetworkId::new("test", Admission::Lab, None);
    Envelope::sign(&identity(1), &network, draft).expect("a good draft")
}

fn reading(envelope: Envelope) -> Reading {
    Reading::of(&[envelope].into_iter().collect(), UnixMillis(1))
}

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

#[test]
fn a_list_lets_in_for_a_while_and_keeps_out_for_a_moment() {
    let (team, member, other) = (list(1, &[]).id(), identity(2), identity(3));
    let (member, other) = (member.public_key(), other.public_key());
    let mut lists = TeamLists::default();
    assert_eq!(lists.verdict(at(0), &team, &member), Verdict::Unknown);
    lists.on_read(at(0), team, &reading(signed(5, &list(1, &[2]))));
    assert_eq!(lists.verdict(at(0), &team, &member), Verdict::Admitted);
    assert_eq!(lists.verdict(at(19_999), &team, &member), Verdict::Admitted);
    assert_eq!(lists.verdict(at(20_000), &team, &member), Verdict::Unknown);
    assert_eq!(lists.verdict(at(999), &team, &other), Verdict::NotOnList);
    assert_eq!(lists.verdict(at(1_000), &team, &other), Verdict::Unknown);
    assert_eq!(lists.last_word(&team, &other), Verdict::NotOnList);
}

#[test]
fn a_node_never_goes_back_to_an_older_list() {
    let (team, removed) = (list(1, &[]).id(), identity(2).public_key());
    let mut lists = TeamLists::default();
    lists.on_read(at(0), team, &reading(signed(6, &list(2, &[]))));
    lists.on_read(at(1), team, &reading(signed(5, &list(1, &[2]))));
    lists.learn(&signed(4, &list(1, &[2])));
    lists.on_read(at(2), team, &Reading::default());
    assert_eq!(lists.last_word(&team, &removed), Verdict::NotOnList);
    lists.learn(&signed(7, &list(3, &[2])));
    assert_eq!(lists.last_word(&team, &removed), Verdict::Admitted);
}

#[test]
fn a_list_of_another_team_is_none() {
    let mut lists = TeamLists::default();
    let team = TeamId::from_bytes([9; 32]);
    lists.on_read(at(0), team, &reading(signed(5, &list(1, &[2]))));
    assert_eq!(lists.last_word(&team, &identity(2).public_key()), Verdict::Unknown);
    assert_eq!(lists.refusal(&team), CommandError::NoTeam(team));
}

#[test]
fn what_waits_has_a_limit() {
    let mut reads = TeamReads::default();
    let team = TeamId::from_bytes([1; 32]);
    for number in 0..STORES_WAITING_MAX as u64 {
        assert!(reads.has_room());
        let sender = PublicKey::from_bytes([1; 32]);
        let ask = StoreAsk { serve: ServeId(number), sender, parts: Vec::new() };
        reads.wait(team, Waiting::Store(ask));
    }
    assert!(!reads.has_room());
    assert_eq!(reads.begin(team, || CommandId(1)), Begin::New(CommandId(1)));
    assert_eq!(reads.begin(team, || CommandId(2)), Begin::Running);
    for number in 2..=READS_MAX as u8 {
        let begun = reads.begin(TeamId::from_bytes([number; 32]), || CommandId(number.into()));
        assert_eq!(begun, Begin::New(CommandId(number.into())));
    }
    assert_eq!(reads.begin(TeamId::from_bytes([200; 32]), || CommandId(200)), Begin::TooMany);
    assert_eq!(reads.take(&team).len(), STORES_WAITING_MAX);
    assert!(reads.has_room());
}
