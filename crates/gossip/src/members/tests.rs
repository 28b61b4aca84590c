//! Clusters of members.

mod bounds;
mod cluster;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{Identity, NetworkId};
use potluck_wire::{Announcement, MemberResponse, PeerHints, Proof, RecordVersion, SuspectMessage};

use super::*;
use crate::view::{Change, MemberState};
use cluster::Cluster;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn newcomers_learn_the_whole_list_and_all_learn_of_them() {
    let cluster = Cluster::of(40);
    for node in &cluster.nodes {
        let view = node.members.view();
        assert_eq!(view.members.len(), 40);
        assert!(view.members.iter().all(|member| member.state == MemberState::Alive));
    }
    assert_eq!(cluster.count(Change::Suspected), 0);
}

#[test]
fn a_crash_is_known_to_all_within_seconds_and_no_other_member_is_suspected() {
    let mut cluster = Cluster::of(40);
    cluster.kill(7);
    let took = cluster
        .run_until(20 * SECOND, |cluster| cluster.who_think(7, MemberState::Dead) == 39)
        .expect("all know it");
    assert!(took < 6 * SECOND, "{took:?}");
    assert_eq!(cluster.count(Change::Suspected), 39);
    assert_eq!(cluster.count(Change::Died), 39);
}

#[test]
fn a_young_cluster_detects_a_crash_as_fast() {
    let mut cluster = Cluster::new(MembersConfig::default());
    for _ in 0..12 {
        cluster.add();
    }
    cluster.run(3 * SECOND);
    cluster.kill(7);
    let took =
        cluster.run_until(20 * SECOND, |cluster| cluster.who_think(7, MemberState::Dead) == 11);
    assert!(took.is_some_and(|took| took < 6 * SECOND), "{took:?}");
}

#[test]
fn lossy_links_evict_no_member() {
    let mut cluster = Cluster::of(40);
    cluster.loss = 0.1;
    cluster.run(600 * SECOND);
    assert_eq!(cluster.count(Change::Died), 0);
}

#[test]
fn leaving_is_final_for_an_incarnation() {
    let mut cluster = Cluster::of(20);
    let stale = cluster.nodes[3].members.own.signed.clone();
    cluster.feed(3, Input::Leave);
    cluster.run(SECOND);
    cluster.kill(3);
    assert_eq!(cluster.who_think(3, MemberState::Left), 19);
    let again = Announcement { records: vec![stale], ..Announcement::default() };
    let from = cluster.key(5);
    cluster.feed(8, Input::Announced { from, payload: again.to_bytes() });
    cluster.run(30 * SECOND);
    assert_eq!(cluster.who_think(3, MemberState::Left), 19);
    cluster.restart(3, (1 << 20) + 1);
    cluster.run(5 * SECOND);
    assert_eq!(cluster.who_think(3, MemberState::Alive), 19);
}

#[test]
fn suspect_messages_about_other_versions_than_the_last_are_ignored() {
    let mut cluster = Cluster::of(10);
    let before = cluster.nodes[4].members.own.version();
    let from = cluster.key(9);
    for (incarnation, revision) in
        [(0, 0), (before.incarnation, before.revision + 1), (u64::MAX, u32::MAX)]
    {
        let suspect = SuspectMessage {
            subject: cluster.key(4),
            version: RecordVersion { incarnation, revision },
        };
        let payload =
            Announcement { suspects: vec![suspect], ..Announcement::default() }.to_bytes();
        for at in 0..10 {
            cluster.feed(at, Input::Announced { from, payload: payload.clone() });
        }
    }
    cluster.run(10 * SECOND);
    assert_eq!(cluster.nodes[4].members.own.version(), before, "no other node can raise a version");
    assert_eq!(cluster.count(Change::Suspected), 0);
}

#[test]
fn false_suspect_messages_of_many_liars_evict_no_member() {
    let mut cluster = Cluster::of(30);
    for round in 0..200 {
        let version = cluster.nodes[4].members.own.version();
        let suspect = SuspectMessage { subject: cluster.key(4), version };
        let payload =
            Announcement { suspects: vec![suspect], ..Announcement::default() }.to_bytes();
        for at in 0..30 {
            let from = Identity::from_seed([100 + (round % 20) as u8; 32]).public_key();
            cluster.feed(at, Input::Announced { from, payload: payload.clone() });
        }
        cluster.run(SECOND / 4);
    }
    assert_eq!(cluster.count(Change::Died), 0);
    assert_eq!(cluster.count(Change::Suspected), 0);
    let revision = cluster.nodes[4].members.own.version().revision;
    assert!(revision < 70, "{revision} new versions for 200 suspect messages in 50 seconds");
}

#[test]
fn a_member_that_one_node_cannot_reach_is_proved_by_helpers() {
    let mut cluster = Cluster::of(20);
    // Node 2 cannot reach node 5, and node 5 cannot reach node 2.
    cluster.cuts = vec![(2, 5), (5, 2)];
    cluster.run(300 * SECOND);
    assert_eq!(cluster.count(Change::Died), 0);
    assert!(cluster.nodes[2].members.stats().probes_helped > 0);
}

#[test]
fn a_proof_holds_for_its_subject_asker_and_nonce_only() {
    let network = NetworkId::new("a", potluck_base::Admission::Lab, None);
    let (subject, asker) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    let version = RecordVersion { incarnation: 3, revision: 4 };
    let proof = Proof::sign(&subject, &network, &asker.public_key(), 9, version);
    let holds = |subject: &Identity, asker: &Identity, nonce| {
        proof.verify(&subject.public_key(), &network, &asker.public_key(), nonce)
    };
    assert!(holds(&subject, &asker, 9));
    assert!(!holds(&subject, &asker, 10));
    assert!(!holds(&subject, &subject, 9));
    assert!(!holds(&asker, &asker, 9));
}

#[test]
fn a_node_that_stood_still_declares_no_member_dead_and_comes_back() {
    let mut cluster = Cluster::of(30);
    cluster.pause(6);
    cluster.run(30 * SECOND);
    assert_eq!(cluster.who_think(6, MemberState::Dead), 29);
    let before = cluster.count(Change::Died);
    cluster.resume(6);
    let back =
        cluster.run_until(20 * SECOND, |cluster| cluster.who_think(6, MemberState::Alive) == 29);
    assert!(back.is_some_and(|took| took < 8 * SECOND), "{back:?}");
    cluster.run(60 * SECOND);
    assert_eq!(cluster.count(Change::Died), before, "it declared no member dead");
    assert_eq!(cluster.who_think(6, MemberState::Alive), 29);
}

#[test]
fn a_node_without_a_network_declares_no_member_dead() {
    let mut cluster = Cluster::of(20);
    cluster.cuts = (1..20).flat_map(|other| [(0, other), (other, 0)]).collect();
    cluster.run(600 * SECOND);
    let died = cluster.nodes[0].events.iter().filter(|(_, event)| event.change == Change::Died);
    assert_eq!(died.count(), 0);
    assert!(cluster.nodes[0].members.is_isolated());
    assert_eq!(
        cluster.who_think(0, MemberState::Dead),
        19,
        "the others know that it is unreachable"
    );
    cluster.cuts.clear();
    let healed = cluster.run_until(120 * SECOND, |cluster| {
        cluster.who_think(0, MemberState::Alive) == 19 && !cluster.nodes[0].members.is_isolated()
    });
    assert!(healed.is_some(), "it comes back");
}

#[test]
fn a_mass_death_is_believed_all_the_same() {
    let mut cluster = Cluster::of(20);
    (0..16).for_each(|index| cluster.kill(index));
    let all =
        |cluster: &Cluster| (0..16).all(|dead| cluster.who_think(dead, MemberState::Dead) == 4);
    assert!(cluster.run_until(180 * SECOND, all).is_some());
    for live in 16..20 {
        assert_eq!(cluster.who_think(live, MemberState::Alive), 3);
    }
}

#[test]
fn a_split_of_days_heals_within_two_minutes() {
    let mut cluster = Cluster::of(14);
    cluster.split = Some(7);
    cluster.run(48 * 3600 * SECOND);
    assert_eq!(cluster.who_think(3, MemberState::Dead), 7);
    cluster.split = None;
    let whole =
        |cluster: &Cluster| (0..14).all(|index| cluster.who_think(index, MemberState::Alive) == 13);
    let took = cluster.run_until(600 * SECOND, whole).expect("it heals");
    assert!(took <= 120 * SECOND, "{took:?}");
}

#[test]
fn anti_entropy_finds_records_the_broadcast_missed() {
    let mut cluster = Cluster::of(20);
    cluster.mute = true;
    let late = cluster.add();
    let known = cluster
        .run_until(600 * SECOND, |cluster| cluster.who_think(late, MemberState::Alive) == 20);
    assert!(known.is_some());
}

#[test]
fn a_node_whose_incarnation_went_back_is_heard_again() {
    let mut cluster = Cluster::of(10);
    cluster.kill(2);
    cluster.run(20 * SECOND);
    cluster.restart(2, 5);
    let heard =
        cluster.run_until(30 * SECOND, |cluster| cluster.who_think(2, MemberState::Alive) == 9);
    assert!(heard.is_some());
    assert!(cluster.nodes[2].members.own.version().incarnation > 1 << 20);
}

#[test]
fn a_flapping_member_is_declared_dead_ever_more_slowly() {
    let mut cluster = Cluster::of(12);
    for _ in 0..20 {
        cluster.pause(3);
        cluster.run(25 * SECOND);
        cluster.resume(3);
        cluster.run(5 * SECOND);
    }
    // Ten minutes; without a longer suspicion it would have died twenty times.
    let deaths = cluster.nodes[0].events.iter().filter(|(_, event)| {
        event.change == Change::Died && event.peer.contact == cluster.nodes[3].contact
    });
    let deaths = deaths.count();
    assert!((2..=6).contains(&deaths), "{deaths}");
}

#[test]
fn a_flapping_member_that_returns_is_alive_at_once() {
    let mut cluster = Cluster::of(20);
    for round in 0..5 {
        for index in [3, 8] {
            cluster.pause(index);
        }
        let dead = |cluster: &Cluster| {
            [3, 8].iter().all(|of| cluster.who_think(*of, MemberState::Dead) == 18)
        };
        assert!(cluster.run_until(200 * SECOND, dead).is_some(), "round {round}");
        for index in [3, 8] {
            cluster.resume(index);
        }
        let back = |cluster: &Cluster| {
            [3, 8].iter().all(|of| cluster.who_think(*of, MemberState::Alive) == 19)
        };
        let took = cluster.run_until(60 * SECOND, back);
        assert!(took.is_some_and(|took| took <= 2 * SECOND), "round {round}: {took:?}");
        cluster.run(10 * SECOND);
    }
}

#[test]
fn a_member_that_restarts_often_is_alive_at_once() {
    let mut cluster = Cluster::of(12);
    for round in 1..=4 {
        cluster.kill(3);
        let dead = |cluster: &Cluster| cluster.who_think(3, MemberState::Dead) == 11;
        assert!(cluster.run_until(200 * SECOND, dead).is_some(), "round {round}");
        cluster.restart(3, (1 << 20) + round);
        let took = cluster
            .run_until(60 * SECOND, |cluster| cluster.who_think(3, MemberState::Alive) == 11);
        assert!(took.is_some_and(|took| took <= 2 * SECOND), "round {round}: {took:?}");
    }
    // After leaving as well, whatever the tree carries.
    for round in 5..=8 {
        cluster.feed(3, Input::Leave);
        cluster.run(SECOND / 5);
        cluster.kill(3);
        cluster.run(SECOND);
        assert_eq!(cluster.who_think(3, MemberState::Left), 11, "round {round}");
        cluster.mute = true;
        cluster.restart(3, (1 << 20) + round);
        let took = cluster
            .run_until(60 * SECOND, |cluster| cluster.state(3, 0) == Some(MemberState::Alive));
        assert!(took.is_some_and(|took| took <= SECOND), "round {round}: {took:?}");
        cluster.mute = false;
        cluster.run(10 * SECOND);
    }
}

#[test]
fn a_newer_version_or_one_datagram_revives_a_dead_member() {
    for by_record in [true, false] {
        let mut cluster = Cluster::of(8);
        for _ in 0..3 {
            cluster.pause(3);
            let dead = |cluster: &Cluster| cluster.who_think(3, MemberState::Dead) == 7;
            assert!(cluster.run_until(200 * SECOND, dead).is_some());
            cluster.resume(3);
            cluster.run(10 * SECOND);
        }
        cluster.pause(3);
        let dead = |cluster: &Cluster| cluster.who_think(3, MemberState::Dead) == 7;
        assert!(cluster.run_until(200 * SECOND, dead).is_some());
        if by_record {
            let members = &cluster.nodes[3].members;
            let mut younger = members.own.record.clone();
            younger.version =
                RecordVersion { incarnation: younger.version.incarnation + 1, revision: 0 };
            let records = vec![younger.sign(&members.own.identity, &members.own.network)];
            let payload = Announcement { records, ..Announcement::default() }.to_bytes();
            let from = cluster.key(5);
            cluster.feed(0, Input::Announced { from, payload });
        } else {
            let contact = cluster.nodes[3].contact;
            cluster.feed(0, Input::Heard(contact));
        }
        assert_eq!(cluster.state(3, 0), Some(MemberState::Alive), "by its record: {by_record}");
        let events = &cluster.nodes[0].events;
        assert_eq!(events.last().map(|(_, event)| event.change), Some(Change::Returned));
    }
}

#[test]
fn a_changed_address_is_announced_and_no_member_dies() {
    let mut cluster = Cluster::of(12);
    let address: SocketAddr = ([10, 9, 9, 9], 7).into();
    cluster.nodes[4].contact.address = address;
    cluster.feed(4, Input::Addresses { ways: vec![address], local: vec![address.into()] });
    cluster.feed(4, Input::Resumed);
    cluster.run(60 * SECOND);
    assert_eq!(cluster.count(Change::Died), 0);
    for node in (0..12).filter(|index| *index != 4) {
        let member =
            cluster.nodes[node].members.table.get(&cluster.key(4)).map(|m| m.peer.contact.address);
        assert_eq!(member, Some(address));
    }
}

#[test]
fn a_peer_over_its_rate_is_refused_and_costs_no_memory() {
    let mut cluster = Cluster::of(5);
    let from = cluster.nodes[1].contact;
    for number in 0..100_000u64 {
        let nonce = number;
        let asker = from.public_key;
        let request = MemberRequest::Prove { asker, nonce };
        let serve = ServeId(1 << 40 | number);
        let now = cluster.now;
        let members = &mut cluster.nodes[0].members;
        members.handle(now, Input::Asked { serve, from, request, budget: 1000 });
        while members.poll_output().is_some() {}
    }
    let stats = cluster.nodes[0].members.stats();
    assert!(stats.over_rate > 99_900, "{stats:?}");
    assert_eq!(stats.asks, cluster.nodes[0].members.outbox.asks());
}

#[test]
fn a_node_that_suspects_all_members_is_soon_ignored() {
    let mut cluster = Cluster::of(12);
    let from = cluster.key(3);
    let before = cluster.nodes[0].members.stats();
    for round in 0..2000 {
        let subject = cluster.key(4 + round % 8);
        let version = cluster.nodes[4 + round % 8].members.own.version();
        let suspects = vec![SuspectMessage { subject, version }];
        let payload = Announcement { suspects, ..Announcement::default() }.to_bytes();
        cluster.feed(0, Input::Announced { from, payload });
    }
    let after = cluster.nodes[0].members.stats();
    assert_eq!(after.doubts - before.doubts, 64);
    assert!(after.over_rate >= 1900, "{after:?}");
}

#[test]
fn a_publisher_of_bad_records_is_soon_ignored() {
    let mut cluster = Cluster::of(5);
    let from = cluster.key(3);
    let mut bad = cluster.nodes[4].members.own.signed.to_vec();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    // A newer version than the known one, so that the signature has to be verified.
    let mut younger = cluster.nodes[4].members.own.record.clone();
    younger.version.revision += 1;
    let forged = younger.sign(&Identity::from_seed([9; 32]), &cluster.nodes[4].members.own.network);
    for _ in 0..100 {
        let records = vec![forged.clone(), bad.clone().into()];
        let payload = Announcement { records, ..Announcement::default() }.to_bytes();
        cluster.feed(0, Input::Announced { from, payload });
    }
    let stats = cluster.nodes[0].members.stats();
    assert!((1..=11).contains(&stats.records_bad), "{stats:?}");
    assert_eq!(cluster.state(4, 0), Some(MemberState::Alive));
}

#[test]
fn an_open_node_forgets_members_it_no_longer_watches() {
    let config = MembersConfig { mode: ModeChoice::Open, ..MembersConfig::default() };
    let mut cluster = Cluster::new(config);
    for _ in 0..6 {
        cluster.add();
    }
    let contacts: Vec<_> = (1..6).map(|index| cluster.nodes[index].contact).collect();
    cluster.feed(0, Input::Neighbours(contacts[..2].to_vec()));
    cluster.feed(0, Input::CloseGroup(contacts[2..].to_vec()));
    cluster.run(10 * SECOND);
    assert_eq!(cluster.nodes[0].members.stats().alive, 5);
    cluster.feed(0, Input::CloseGroup(Vec::new()));
    cluster.cuts = (3..6).flat_map(|other| [(0, other), (other, 0)]).collect();
    cluster.run(400 * SECOND);
    let stats = cluster.nodes[0].members.stats();
    assert_eq!((stats.alive, stats.dead), (2, 0));
}

/// An open network in which each node has the neighbours that are listed for it.
fn open_cluster(neighbours: &[&[usize]]) -> Cluster {
    let config = MembersConfig { mode: ModeChoice::Open, ..MembersConfig::default() };
    let mut cluster = Cluster::new(config);
    for _ in neighbours {
        cluster.add();
    }
    for (index, of) in neighbours.iter().enumerate() {
        let contacts = of.iter().map(|other| cluster.nodes[*other].contact).collect();
        cluster.feed(index, Input::Neighbours(contacts));
    }
    cluster
}

#[test]
fn helpers_are_neighbours_of_the_subject() {
    // The first node watches the second and two nodes that do not know the second.
    let mut cluster = open_cluster(&[&[1, 3, 4], &[0, 2], &[1], &[0], &[0]]);
    cluster.run(30 * SECOND);
    cluster.cuts = vec![(0, 1), (1, 0)];
    cluster.run(60 * SECOND);
    assert_eq!(cluster.state(0, 1), Some(MemberState::Alive));
    let stats = cluster.nodes[0].members.stats();
    assert!(stats.probes_helped > 3 && stats.confirmed == 0, "{stats:?}");
}

#[test]
fn a_node_known_to_no_other_gets_confirmations_in_answer_to_its_suspect_messages() {
    // The last node watches all others, and no other node knows it.
    let mut cluster =
        open_cluster(&[&[1, 2, 3], &[0, 2, 3], &[0, 1, 3], &[0, 1, 2], &[0, 1, 2, 3]]);
    cluster.run(30 * SECOND);
    cluster.kill(3);
    assert!(
        cluster
            .run_until(60 * SECOND, |cluster| cluster.who_think(3, MemberState::Dead) == 4)
            .is_some()
    );
    let events = &cluster.nodes[4].events;
    let at = |change| events.iter().find(|(_, event)| event.change == change).expect("there").0;
    assert!(cluster.nodes[4].members.stats().doubts >= 3, "each of them confirms it");
    let lasted = at(Change::Died).since(at(Change::Suspected));
    assert!(lasted < 2 * SECOND, "{lasted:?}, where a suspicion without confirmations takes 6 s");
    assert_eq!(cluster.count(Change::Suspected), 4, "and no other member is suspected");
}

/// The hints that the first node of the cluster gives to nodes that probe it in turn for `time`,
/// and how often each; and the number of different hints that the least informed prober got.
fn named(cluster: &mut Cluster, time: Duration) -> (Vec<(PublicKey, usize)>, usize) {
    let contacts: Vec<Contact> = cluster.nodes.iter().map(|node| node.contact).collect();
    let askers = 1..contacts.len();
    let (mut named, mut heard) = (BTreeMap::new(), BTreeSet::new());
    for (round, asker) in askers.clone().cycle().take(askers.len() * 6).enumerate() {
        cluster.run(time / (askers.len() * 6) as u32);
        let mine = RecordVersion { incarnation: 1, revision: 0 };
        let request = MemberRequest::Ping { mine, suspected: None, partition: None };
        let serve = ServeId((1 << 40) + round as u64);
        let asked = Input::Asked { serve, from: contacts[asker], request, budget: 1000 };
        let members = &mut cluster.nodes[0].members;
        members.handle(cluster.now, asked);
        let answer = std::iter::from_fn(|| members.poll_output()).find_map(|output| match output {
            Output::Answer { response: Response::Member(response), .. } => Some(response),
            _ => None,
        });
        let Some(MemberResponse::Ack { hints: Some(hints), .. }) = answer else {
            panic!("a probe is answered: {answer:?}");
        };
        for helper in hints.helpers {
            assert_ne!(
                helper.public_key, contacts[asker].public_key,
                "an asker gets no hint to itself"
            );
            *named.entry(helper.public_key).or_default() += 1;
            heard.insert((asker, helper.public_key));
        }
    }
    let of = |asker| heard.iter().filter(|(of, _)| *of == asker).count();
    (named.into_iter().collect(), askers.map(of).min().unwrap_or(0))
}

#[test]
fn all_nodes_that_watch_a_member_are_listed_in_rotation() {
    // The first watches three of them, and the other three watch it.
    let mut cluster = open_cluster(&[&[1, 2, 3], &[], &[], &[], &[], &[], &[]]);
    let (counts, fewest) = named(&mut cluster, 66 * SECOND);
    let all: Vec<PublicKey> = counts.iter().map(|(key, _)| *key).collect();
    let mut wanted: Vec<PublicKey> = (1..7).map(|index| cluster.key(index)).collect();
    wanted.sort_unstable();
    assert_eq!(all, wanted);
    assert!(counts.iter().all(|(_, count)| (4..=8).contains(count)), "{counts:?}");
    assert!(fewest >= 2, "one hears of {fewest} in six answers");
    assert_eq!(cluster.nodes[0].members.stats().watchers, 6);
    // If more nodes watch it than it watches, those it watches have half of the places.
    let mut cluster = open_cluster(&[&[1], &[], &[], &[], &[], &[], &[]]);
    let (counts, _) = named(&mut cluster, 66 * SECOND);
    let of_watched = counts.iter().find(|(key, _)| *key == cluster.key(1)).map(|(_, count)| *count);
    assert!(of_watched.is_some_and(|count| (14..=22).contains(&count)), "{counts:?}");
}

#[test]
fn old_probers_are_not_listed_and_remembered_probers_are_bounded() {
    let mut cluster = open_cluster(&[&[1, 2], &[], &[], &[]]);
    assert!(named(&mut cluster, 66 * SECOND).0.iter().any(|(key, _)| *key == cluster.key(3)));
    cluster.run(130 * SECOND);
    let (now, third) = (cluster.now, cluster.nodes[2].contact);
    let asker = cluster.nodes[1].contact;
    let members = &mut cluster.nodes[0].members;
    let names: Vec<PeerHints> =
        (0..20).filter_map(|round| members.hints(now + 10 * round * SECOND, asker)).collect();
    assert!(names.iter().all(|of| of.helpers == [third]), "{names:?}");
    assert_eq!(members.hints(now, asker).map(|of| of.helpers), Some(vec![]), "not so soon");
    for seed in 50..200 {
        let public_key = Identity::from_seed([seed; 32]).public_key();
        let members = &mut cluster.nodes[0].members;
        members.hints(now, Contact { public_key, ..asker });
    }
    assert_eq!(cluster.nodes[0].members.stats().watchers, 128);
}

#[test]
fn only_a_node_that_suspects_the_same_version_confirms() {
    let mut cluster = open_cluster(&[&[1, 2], &[0, 2], &[0, 1]]);
    cluster.run(10 * SECOND);
    cluster.kill(2);
    assert!(
        cluster
            .run_until(60 * SECOND, |cluster| cluster.who_think(2, MemberState::Dead) == 2)
            .is_some()
    );
    let (from, subject) = (cluster.nodes[1].contact, cluster.key(2));
    let version = cluster.nodes[2].members.own.version();
    let younger = RecordVersion { revision: version.revision + 1, ..version };
    let (same, other) =
        (SuspectMessage { subject, version }, SuspectMessage { subject, version: younger });
    let alive = SuspectMessage {
        subject: from.public_key,
        version: cluster.nodes[1].members.own.version(),
    };
    let request = MemberRequest::Suspect { suspects: vec![other, alive, same] };
    let asked = Input::Asked { serve: ServeId(1 << 40), from, request, budget: 1000 };
    let members = &mut cluster.nodes[0].members;
    members.handle(cluster.now, asked);
    let answer = std::iter::from_fn(|| members.poll_output())
        .find(|output| matches!(output, Output::Answer { .. }));
    let response = Response::Member(MemberResponse::Confirmed { suspects: vec![same] });
    assert_eq!(answer, Some(Output::Answer { serve: ServeId(1 << 40), response }));
}

#[test]
fn two_partitions_that_meet_in_the_dht_are_bridged() {
    let mut cluster = open_cluster(&[&[1], &[0], &[3], &[2]]);
    let third = cluster.nodes[2].contact;
    let wall = UnixMillis(7 * 3_600_000);
    for index in 0..4 {
        cluster.feed(index, Input::WallClock(wall));
    }
    cluster.run(300 * SECOND);
    assert!(
        cluster.nodes.iter().all(|node| node.members.stats().bridges == 0),
        "the partitions have not met"
    );
    cluster.feed(0, Input::CloseGroup(vec![third]));
    cluster.run(600 * SECOND);
    let bridges: Vec<u64> = cluster.nodes.iter().map(|node| node.members.stats().bridges).collect();
    assert!(bridges[0] == 1 && bridges[2] == 1, "both ends, one in ten minutes: {bridges:?}");
    assert!(bridges[1] + bridges[3] == 0, "{bridges:?}");
    // The link is made: all agree on one partition.
    let (first, second) = (cluster.nodes[0].contact, cluster.nodes[1].contact);
    cluster.feed(0, Input::Neighbours(vec![second, third]));
    cluster.feed(2, Input::Neighbours(vec![cluster.nodes[3].contact, first]));
    cluster.run(300 * SECOND);
    let mut parts = Vec::new();
    for node in &mut cluster.nodes {
        parts.push(node.members.partition());
    }
    assert!(parts[0].is_some() && parts.iter().all(|part| *part == parts[0]), "{parts:?}");
}

#[test]
fn the_timer_contract_holds() {
    let mut cluster = Cluster::of(8);
    cluster.kill(3);
    for _ in 0..200 {
        let members = &mut cluster.nodes[0].members;
        let deadline = members.poll_timeout().expect("there is always one");
        members.handle(deadline.at, Input::Timeout);
        while members.poll_output().is_some() {}
        let next = members.poll_timeout().expect("there is always one");
        assert!(next.at > deadline.at, "{deadline:?} {next:?}");
    }
}

#[test]
fn very_lossy_links_raise_few_suspicions_and_evict_no_member() {
    let mut cluster = Cluster::of(40);
    cluster.loss = 0.3;
    cluster.run(600 * SECOND);
    assert_eq!(cluster.count(Change::Died), 0);
    // A probe caused by a suspect message is dropped when the subject has refuted meanwhile:
    // otherwise there are four times as many suspicions.
    assert!(cluster.count(Change::Suspected) < 1_500, "{}", cluster.count(Change::Suspected));
}

#[test]
fn a_suspect_is_probed_again_before_its_suspicion_ends() {
    let mut cluster = Cluster::of(2);
    cluster.kill(1);
    let suspected =
        cluster.run_until(20 * SECOND, |cluster| cluster.who_think(1, MemberState::Suspect) == 1);
    assert!(suspected.is_some());
    let looked = cluster.run_until(20 * SECOND, |cluster| {
        cluster.nodes[0].members.detector.is_rechecking(&cluster.key(1))
    });
    assert!(looked.is_some());
    assert_eq!(cluster.who_think(1, MemberState::Suspect), 1, "before its end");
}

#[test]
fn a_newly_watched_member_is_probed_within_five_seconds() {
    for known in [true, false] {
        let config = MembersConfig { mode: ModeChoice::Open, ..MembersConfig::default() };
        let mut cluster = Cluster::new(config);
        for _ in 0..62 {
            cluster.add();
        }
        let contacts: Vec<Contact> = cluster.nodes.iter().map(|node| node.contact).collect();
        cluster.feed(0, Input::CloseGroup(contacts[1..61].to_vec()));
        if known {
            cluster.feed(0, Input::Neighbours(contacts[61..].to_vec()));
            cluster.run(20 * SECOND);
            cluster.feed(0, Input::Neighbours(Vec::new()));
        }
        cluster.run(20 * SECOND);
        let probed = |cluster: &Cluster| cluster.nodes[61].members.stats().watchers;
        let before = cluster.nodes[61].members.stats().asked;
        assert_eq!(probed(&cluster), usize::from(known));
        cluster.feed(0, Input::CloseGroup(contacts[1..].to_vec()));
        cluster.run(6 * SECOND);
        let asked = cluster.nodes[61].members.stats().asked - before;
        assert_eq!(
            (probed(&cluster), asked >= 1),
            (1, true),
            "after six of the 61 turns of a round"
        );
    }
}

#[test]
fn known_members_keep_their_place_in_the_round_and_newcomers_get_one() {
    let mut cluster = Cluster::of(20);
    let next_round = |cluster: &mut Cluster| {
        cluster.nodes[0].members.next_round();
        cluster.nodes[0].members.detector.round().to_vec()
    };
    let first = next_round(&mut cluster);
    assert_eq!((first.len(), next_round(&mut cluster)), (19, first.clone()));
    let left = cluster.key(5);
    cluster.feed(5, Input::Leave);
    let late = cluster.add();
    cluster.run(10 * SECOND);
    let second = next_round(&mut cluster);
    let stayed = |keys: &[PublicKey], but| keys.iter().copied().filter(|key| *key != but).collect();
    let (before, after): (Vec<_>, Vec<_>) =
        (stayed(&first, left), stayed(&second, cluster.key(late)));
    assert_eq!(before, after);
    assert!(second.contains(&cluster.key(late)));
}
