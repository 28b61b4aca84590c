//! Which nodes get a place in the table of an open network, and which are named to others.

use potluck_base::{Diversity, Rng};

use super::*;
use crate::config::Config;

fn open(me: Peer) -> Dht {
    let config = Config { diversity: Diversity::Subnets, ..Config::default() };
    Dht::new(network(), me.contact, config, Rng::from_number(1))
}

fn at(mut peer: Peer, ip: [u8; 4]) -> Peer {
    peer.contact.address = (ip, 4000).into();
    peer
}

#[test]
fn a_small_subnet_has_two_places_a_bucket_and_ten_in_the_table_also_on_loopback() {
    for first in [9, 127] {
        let all = peers(80, 400);
        let mut node = open(all[0]);
        for (number, peer) in all[1..].iter().enumerate() {
            let peer = at(*peer, [first, 1, 1, (number % 250) as u8]);
            node.handle(Instant::ZERO, Input::Heard(peer.contact));
            for (query, to) in pings(&drain(&mut node)) {
                node.handle(Instant::ZERO, answer(query, to, Vec::new()));
            }
        }
        let view = node.table_view(Instant::ZERO);
        assert!(view.buckets.iter().all(|(_, members, _)| *members <= 2), "{:?}", view.buckets);
        assert!((3..=10).contains(&view.size), "{}", view.size);
        assert!(node.stats().updates_refused_subnet > 300);
        // The first that came are still there: none was displaced.
        let oldest = at(all[1], [first, 1, 1, 0]);
        assert_eq!(node.contact(&oldest.id), Some(oldest.contact));
        // Another subnet has room.
        let other = at(peers(81, 1)[0], [first, 2, 1, 1]);
        node.admit(Instant::ZERO, other, None);
        assert_eq!(node.contact(&other.id), Some(other.contact));
    }
}

#[test]
fn a_crowd_next_to_a_node_is_kept_out_for_an_hour_and_no_one_else_is() {
    let all = peers(82, 600);
    let mut node = open(all[0]);
    let me = all[0].id;
    let scattered = |number: usize, peer: Peer| {
        at(peer, [20 + (number % 100) as u8, (number / 100) as u8, 1, 1])
    };
    for (number, peer) in all[1..200].iter().enumerate() {
        node.admit(Instant::ZERO, scattered(number, *peer), None);
    }
    let honest = node.members_known();
    assert_eq!(node.stats().updates_refused_distance, 0, "{honest} are known");
    // Nodes with many leading bits in common with this one, from everywhere.
    let near = peers(83, 6000);
    let near: Vec<Peer> = near
        .into_iter()
        .filter(|peer| peer.id.distance(&Key::from(me)).leading_zeros() >= 6)
        .enumerate()
        .map(|(number, peer)| scattered(5000 + number, peer))
        .collect();
    assert!(near.len() > 60, "{}", near.len());
    let inside = |node: &Dht| near.iter().filter(|peer| node.contact(&peer.id).is_some()).count();
    for peer in &near {
        node.admit(Instant::ZERO, *peer, None);
    }
    let most = inside(&node);
    assert!(most <= 20, "{most} of {}", near.len());
    assert_eq!(node.stats().updates_refused_distance as usize, near.len() - most);
    let last = near.iter().rev().find(|peer| node.contact(&peer.id).is_none());
    let last = *last.expect("one that was refused");
    let hour = Instant::ZERO + Duration::from_secs(3600);
    node.admit(hour, last, None);
    assert!(node.contact(&last.id).is_some(), "an hour later");
}

#[test]
fn a_contact_that_was_not_heard_for_long_is_named_to_nobody() {
    let all = peers(84, 3);
    let mut node = dht(all[0], 1);
    node.admit(Instant::ZERO, all[1], None);
    let later = Instant::ZERO + Config::default().named_for + Duration::from_secs(1);
    node.admit(later, all[2], None);
    let target = Key::from(all[0].id);
    assert_eq!(node.named(Instant::ZERO, &target, 16, &all[0].id).len(), 2);
    assert_eq!(node.named(later, &target, 16, &all[0].id), [all[2]]);
    assert_eq!(node.named(later, &target, 16, &all[2].id), [], "the asker is not named");
    node.handle(later, Input::Heard(all[1].contact));
    assert_eq!(node.named(later, &target, 16, &all[0].id).len(), 2, "heard again");
}

#[test]
fn who_does_not_answer_a_proof_is_counted_and_gets_no_place() {
    let all = peers(85, 2);
    let mut node = dht(all[0], 1);
    node.handle(Instant::ZERO, Input::Heard(all[1].contact));
    for (query, _) in pings(&drain(&mut node)) {
        node.handle(Instant::ZERO, Input::Failed(query));
    }
    assert_eq!(node.stats().updates_refused_unproven, 1);
    assert_eq!(node.contact(&all[1].id), None);
}
