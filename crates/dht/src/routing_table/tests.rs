use super::*;
use crate::testing::{closest, peers};

const K: usize = 16;
const CLOSE_GROUP_SIZE: usize = 48;

fn table(capacity: usize, all: &[Peer]) -> RoutingTable {
    let mut table = RoutingTable::new(all[0].id, K, CLOSE_GROUP_SIZE, capacity);
    for peer in &all[1..] {
        let _ = table.admit(Instant::ZERO, *peer, None);
    }
    table
}

#[test]
fn every_contact_has_a_place_and_the_table_stays_small() {
    let all = peers(1, 3000);
    let table = table(1024, &all);
    for entry in table.entries() {
        let id = entry.peer.id;
        let in_bucket = table.buckets.values().any(|bucket| bucket.contains(&id));
        assert!(in_bucket || table.is_in_close_group(&id));
    }
    // About k contacts for each of log2(3000 / k) full buckets, and the close group.
    assert!(table.len() < 200, "{} contacts", table.len());
    assert!(table.buckets.values().all(|bucket| bucket.members().len() <= K));
    assert!(table.buckets.values().all(|bucket| bucket.waiting() <= K));
}

#[test]
fn the_close_group_is_the_closest_of_all() {
    let all = peers(2, 500);
    let table = table(1024, &all);
    let expected = closest(&all[1..], &all[0].id.into(), CLOSE_GROUP_SIZE);
    assert_eq!(table.close_group().copied().collect::<Vec<_>>(), expected);
}

#[test]
fn the_hard_cap_holds_and_spares_the_close_group() {
    let all = peers(3, 3000);
    let table = table(K + CLOSE_GROUP_SIZE, &all);
    assert!(table.len() <= K + CLOSE_GROUP_SIZE);
    assert!(table.evicted() > 0);
    let expected = closest(&all[1..], &all[0].id.into(), CLOSE_GROUP_SIZE);
    assert_eq!(table.close_group().copied().collect::<Vec<_>>(), expected);
}

#[test]
fn who_replaces_a_lost_contact_has_to_prove_itself_first() {
    let all = peers(4, 3000);
    let mut table = table(1024, &all);
    let member = table.buckets[&0].members()[0];
    let size = table.len();
    let (_, candidate) = table.remove(&member);
    let candidate = candidate.expect("the half of the space has replacements waiting");
    assert!(table.entry(&candidate.id).is_none());
    assert_eq!(table.len(), size - 1);
}

#[test]
fn a_lost_member_of_the_close_group_is_reported_with_its_replacement() {
    let all = peers(5, 500);
    let mut table = table(1024, &all);
    let lost = *table.close_group().next().expect("a close group");
    let (change, _) = table.remove(&lost.id);
    assert_eq!(change.left, [lost]);
    assert_eq!(change.joined.len(), 1);
    assert_eq!(table.close_group().count(), CLOSE_GROUP_SIZE);
}

#[test]
fn closest_gives_the_closest_it_has() {
    let all = peers(6, 40);
    let table = table(1024, &all);
    let target = Key::from_bytes([0x77; 32]);
    let expected = closest(&all[1..], &target, 10);
    let known: Vec<Peer> = table.closest(&target, 10);
    assert_eq!(known, expected);
    assert!(table.closest(&target, 0).is_empty());
}

#[test]
fn the_size_of_the_network_is_estimated_within_a_third() {
    for (seed, count) in [(7, 20), (8, 300), (9, 1000), (10, 3000)] {
        let estimate = table(1024, &peers(seed, count)).network_size_estimate() as f64;
        let ratio = estimate / count as f64;
        assert!((0.66..1.5).contains(&ratio), "{estimate} for {count}");
    }
}

#[test]
fn the_next_check_is_the_earliest_of_all() {
    let all = peers(5, 300);
    let mut table = RoutingTable::new(all[0].id, K, CLOSE_GROUP_SIZE, 64);
    let mut rng = potluck_base::Rng::from_number(5);
    for step in 0..5_000_u64 {
        let peer = all[1 + rng.below(all.len() as u64 - 1) as usize];
        match rng.below(4) {
            0 => drop(table.admit(Instant::from_micros(step), peer, None)),
            1 => drop(table.remove(&peer.id)),
            _ => table.check_at(&peer.id, Instant::from_micros(step + rng.below(500))),
        }
        let earliest = table.entries().map(Entry::check_at).min();
        assert_eq!(table.next_check(), earliest, "step {step}");
    }
}
