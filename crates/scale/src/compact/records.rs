//! Records on their closest nodes: copied when a holder dies, handed over when a closer node joins.

use super::Millis;
use super::census::{Census, Contact, Member, NO_NODE, place_of};
use crate::draw::mix2;

const KEYS: u64 = 41;
/// Milliseconds after its birth at which a node receives records.
pub(super) const SETTLED: Millis = 5000;

#[derive(Debug)]
pub(super) struct Records {
    /// The keys, in order.
    keys: Vec<u64>,
    /// The `replicas` holders of each record; `NO_NODE` for a missing one.
    holders: Vec<Contact>,
    replicas: usize,
    /// The records of the node of each place.
    held: Vec<Vec<u32>>,
    pub(super) lost: u64,
    pub(super) copies: u64,
    pub(super) handed_over: u64,
}

impl Records {
    /// Puts each of `count` records on its `replicas` closest nodes.
    pub(super) fn new(census: &Census, count: usize, replicas: usize, seed: u64) -> Self {
        let mut keys: Vec<u64> = (0..count as u64).map(|n| mix2(mix2(seed, KEYS), n)).collect();
        keys.sort_unstable();
        let mut records = Self {
            holders: vec![NO_NODE; count * replicas],
            keys,
            replicas,
            held: vec![Vec::new(); census.places()],
            lost: 0,
            copies: 0,
            handed_over: 0,
        };
        let mut found = Vec::new();
        for record in 0..count {
            found.clear();
            census.closest(records.keys[record], replicas, Member::lives, &mut found);
            for (slot, (_, contact)) in found.iter().enumerate() {
                records.holders[record * replicas + slot] = *contact;
                records.held[place_of(*contact)].push(record as u32);
            }
        }
        records
    }

    pub(super) const fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn key(&self, record: u32) -> u64 {
        self.keys[record as usize]
    }

    pub(super) fn holders(&self, record: u32) -> &[Contact] {
        let at = record as usize * self.replicas;
        &self.holders[at..at + self.replicas]
    }

    /// A node died. Returns the records that it held.
    pub(super) fn gone(&mut self, contact: Contact) -> Vec<u32> {
        std::mem::take(&mut self.held[place_of(contact)])
    }

    /// The holders of a record detect dead ones: the closest other nodes get copies from the live holders.
    /// Without a live holder the record is lost.
    pub(super) fn repair(&mut self, census: &Census, record: u32) {
        let at = record as usize * self.replicas;
        let mine = &mut self.holders[at..at + self.replicas];
        let living = mine.iter().filter(|it| **it != NO_NODE && census.lives(**it)).count();
        if living == 0 {
            // A record that was lost before has no holders at all.
            if mine.iter().any(|it| *it != NO_NODE) {
                self.lost += 1;
                mine.fill(NO_NODE);
            }
            return;
        }
        if living == self.replicas {
            return;
        }
        let mut found = Vec::with_capacity(64);
        census.closest(self.keys[record as usize], 2 * self.replicas, Member::lives, &mut found);
        let mut others = found.iter().map(|it| it.1);
        for slot in 0..self.replicas {
            let present = self.holders[at + slot];
            if present != NO_NODE && census.lives(present) {
                continue;
            }
            let next = others.find(|it| !self.holders[at..at + self.replicas].contains(it));
            self.holders[at + slot] = next.unwrap_or(NO_NODE);
            if let Some(next) = next {
                self.held[place_of(next)].push(record);
                self.copies += 1;
            }
        }
    }

    /// A node that joined takes over the records for which it is one of the closest.
    pub(super) fn settle(&mut self, census: &Census, contact: Contact) {
        let id = census.id(contact);
        // The new node is almost never farther from such a record than eight times the number of holders.
        let share = 8.0 * self.replicas as f64 / census.living().max(1) as f64;
        let bits = (-share.min(1.0).log2()).floor() as u32;
        let (low, high) = if bits == 0 {
            (0, u64::MAX)
        } else {
            let low = id >> (64 - bits) << (64 - bits);
            (low, low | (u64::MAX >> bits))
        };
        let from = self.keys.partition_point(|key| *key < low);
        let to = self.keys.partition_point(|key| *key <= high);
        for record in from..to {
            let at = record * self.replicas;
            let key = self.keys[record];
            let holders = &self.holders[at..at + self.replicas];
            // The new node replaces a dead holder or the farthest live one. If it is farther than all of
            // them, it gets a copy by repair, if needed.
            let lives = |it: Contact| it != NO_NODE && census.lives(it);
            let mut farthest = None;
            let mut free = None;
            for (slot, holder) in holders.iter().enumerate() {
                if !lives(*holder) {
                    free = Some(slot);
                } else if farthest.is_none_or(|(most, _)| census.id(*holder) ^ key > most) {
                    farthest = Some((census.id(*holder) ^ key, slot));
                }
            }
            let Some((_, slot)) = farthest.filter(|(most, _)| *most > id ^ key) else { continue };
            let slot = free.unwrap_or(slot);
            let before = holders[slot];
            if holders.contains(&contact) {
                continue;
            }
            self.holders[at + slot] = contact;
            self.held[place_of(contact)].push(record as u32);
            self.handed_over += 1;
            if before != NO_NODE && census.lives(before) {
                self.held[place_of(before)].retain(|it| *it as usize != record);
            }
        }
    }

    /// Records without a live holder.
    pub(super) fn without_holder(&self, census: &Census) -> u64 {
        let lives = |it: &Contact| *it != NO_NODE && census.lives(*it);
        self.holders.chunks(self.replicas).filter(|holders| !holders.iter().any(lives)).count()
            as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(nodes: usize) -> (Census, Records) {
        let mut census = Census::new(nodes + 50, nodes, 1000, 3);
        (0..nodes).for_each(|place| {
            census.join(place, 10, 10);
        });
        let records = Records::new(&census, 500, 3, 3);
        (census, records)
    }

    fn check(census: &Census, records: &Records) {
        for record in 0..records.len() as u32 {
            let mut found = Vec::new();
            census.closest(records.key(record), 3, Member::lives, &mut found);
            let mut want: Vec<Contact> = found.iter().map(|it| it.1).collect();
            let mut have = records.holders(record).to_vec();
            want.sort_unstable();
            have.sort_unstable();
            assert_eq!(have, want, "record {record}");
        }
    }

    #[test]
    fn repair_and_hand_over_keep_records_on_their_closest_nodes() {
        let (mut census, mut records) = world(200);
        check(&census, &records);
        for place in [3, 50, 77] {
            let node = census.node(place).expect("a node");
            census.leave(node, 100);
            for record in records.gone(node) {
                records.repair(&census, record);
            }
        }
        check(&census, &records);
        assert!(records.copies > 0 && records.lost == 0);
        for place in 200..230 {
            let node = census.join(place, 200, 200);
            records.settle(&census, node);
        }
        check(&census, &records);
        assert!(records.handed_over > 0);
    }

    #[test]
    fn a_record_is_lost_once_if_all_its_holders_die() {
        let (mut census, mut records) = world(200);
        for holder in records.holders(7).to_vec() {
            census.leave(holder, 100);
        }
        assert!(records.without_holder(&census) >= 1);
        records.repair(&census, 7);
        records.repair(&census, 7);
        assert_eq!(records.lost, 1);
    }
}
