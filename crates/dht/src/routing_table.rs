//! The routing table: k-buckets over the whole space, and the owner's close group.
//!
//! **Invariants:** every contact in it has answered us at its address; a contact is in its bucket,
//! in the close group, or both, else it is not in the table; never more than `capacity` contacts.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::{BucketIndex, Distance, Diversity, Instant, Key, NodeId, Peer, SubnetLimit};

use crate::kbucket::{KBucket, Placed};

/// Members of one bucket in one subnet, where subnets count. Raising it lets one network of addresses take
/// more of a distance range.
const BUCKET: SubnetLimit = SubnetLimit { small: 2, large: 8 };
/// Contacts of the table in one subnet, where subnets count. Raising it lets one network of addresses take
/// more of the table and of the close group.
const TABLE: SubnetLimit = SubnetLimit { small: 10, large: 64 };

/// The table's data about a contact.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) peer: Peer,
    /// When it entered the table.
    pub(crate) since: Instant,
    pub(crate) last_heard: Instant,
    pub(crate) rtt: Option<Duration>,
    /// Consecutive requests without an answer.
    pub(crate) failures: u8,
    /// When a heartbeat or check is due; set with [`RoutingTable::check_at`].
    check_at: Instant,
}

impl Entry {
    pub(crate) const fn check_at(&self) -> Instant {
        self.check_at
    }
}

/// A contact, for diagnosis.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerView {
    /// The node and its address.
    pub peer: Peer,
    /// The last round-trip time.
    pub rtt: Option<Duration>,
    /// Time since it was last heard.
    pub last_heard: Duration,
    /// Consecutive requests without an answer.
    pub failures: u8,
    /// Whether it belongs to the owner's close group.
    pub in_close_group: bool,
}

/// The table, for diagnosis.
#[derive(Debug, Clone, PartialEq)]
pub struct TableView {
    /// Contacts in the table.
    pub size: usize,
    /// Most contacts it may hold.
    pub capacity: usize,
    /// Estimated nodes in the network, this one included.
    pub network_size_estimate: u64,
    /// Per bucket: shared leading bits, contacts, waiting replacements.
    pub buckets: Vec<(u8, usize, usize)>,
    /// All contacts, closest to the owner first.
    pub contacts: Vec<PeerView>,
}

/// The nodes that joined and left the close group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CloseGroupChange {
    /// Newly among the closest.
    pub joined: Vec<Peer>,
    /// No longer among the closest.
    pub left: Vec<Peer>,
}

impl CloseGroupChange {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.left.is_empty()
    }
}

/// The table of one node.
#[derive(Debug, Clone)]
pub struct RoutingTable {
    me: NodeId,
    k: usize,
    close_group_size: usize,
    capacity: usize,
    diversity: Diversity,
    entries: BTreeMap<NodeId, Entry>,
    buckets: BTreeMap<u8, KBucket>,
    close_group: BTreeMap<Distance, Peer>,
    /// The earliest check, kept because it is asked for after every datagram.
    next_check: Option<Instant>,
    evicted: u64,
}

impl RoutingTable {
    /// An empty table around `me`.
    #[must_use]
    pub fn new(me: NodeId, k: usize, close_group_size: usize, capacity: usize) -> Self {
        Self {
            me,
            k,
            close_group_size,
            capacity,
            diversity: Diversity::Free,
            entries: BTreeMap::new(),
            buckets: BTreeMap::new(),
            close_group: BTreeMap::new(),
            next_check: None,
            evicted: 0,
        }
    }

    /// From now on places are limited a subnet, or not.
    pub const fn limit_subnets(&mut self, diversity: Diversity) {
        self.diversity = diversity;
    }

    /// Whether a node that is not in the table may be in it beside the others of its subnets.
    pub(crate) fn has_room_in_subnet(&self, peer: &Peer) -> bool {
        let ip = peer.contact.address.ip();
        let all = self.entries.values().map(|entry| entry.peer.contact.address.ip());
        let members = self.bucket_index(&peer.id).and_then(|index| self.buckets.get(&index));
        let bucket = members
            .into_iter()
            .flat_map(KBucket::members)
            .filter_map(|id| self.entries.get(id).map(|entry| entry.peer.contact.address.ip()));
        self.diversity.has_room(ip, all, TABLE) && self.diversity.has_room(ip, bucket, BUCKET)
    }

    /// For each number of leading bits up to `most`, the contacts that share at least as many with the owner.
    pub(crate) fn crowds(&self, most: u32) -> Vec<usize> {
        let mut crowds = vec![0; most as usize + 1];
        for id in self.entries.keys() {
            crowds[self.distance_to(id).leading_zeros().min(most) as usize] += 1;
        }
        for bits in (1..crowds.len()).rev() {
            crowds[bits - 1] += crowds[bits];
        }
        crowds
    }

    /// Whether the close group is full, so that the size of the network can be estimated.
    pub(crate) fn has_full_close_group(&self) -> bool {
        self.close_group.len() >= self.close_group_size
    }

    fn bucket_index(&self, id: &NodeId) -> Option<u8> {
        BucketIndex::of(&self.me.distance(&Key::from(*id))).map(BucketIndex::get)
    }

    fn distance_to(&self, id: &NodeId) -> Distance {
        self.me.distance(&Key::from(*id))
    }

    fn would_join_close_group(&self, distance: &Distance) -> bool {
        self.close_group.len() < self.close_group_size
            || self.close_group.last_key_value().is_some_and(|(farthest, _)| distance < farthest)
    }

    /// Whether fewer than `k` members of the close group are closer than `id`.
    pub(crate) fn is_nearest(&self, id: &NodeId) -> bool {
        self.close_group.range(..self.distance_to(id)).take(self.k).count() < self.k
    }

    /// Whether `id` would get a place if it answered a ping; checked before the ping is sent.
    #[must_use]
    pub fn would_admit(&self, id: &NodeId) -> bool {
        let Some(index) = self.bucket_index(id) else { return false };
        !self.entries.contains_key(id)
            && (self.buckets.get(&index).is_none_or(|bucket| bucket.has_room(self.k))
                || self.would_join_close_group(&self.distance_to(id)))
    }

    /// Adds a contact that has just answered this node, or records that it is alive.
    pub fn admit(&mut self, now: Instant, peer: Peer, rtt: Option<Duration>) -> CloseGroupChange {
        if let Some(entry) = self.entries.get_mut(&peer.id) {
            // The contact answered at this address, so an old address is replaced.
            let old = std::mem::replace(&mut entry.peer, peer);
            entry.last_heard = now;
            entry.failures = 0;
            entry.rtt = rtt.or(entry.rtt);
            let distance = self.distance_to(&peer.id);
            let mut change = CloseGroupChange::default();
            if old != peer && self.close_group.contains_key(&distance) {
                self.close_group.insert(distance, peer);
                change.joined.push(peer);
                change.left.push(old);
            }
            return change;
        }
        let Some(index) = self.bucket_index(&peer.id) else { return CloseGroupChange::default() };
        let placed = self.buckets.entry(index).or_default().place(peer, self.k);
        let distance = self.distance_to(&peer.id);
        let joins = self.would_join_close_group(&distance);
        if placed == Placed::Waiting && !joins {
            return CloseGroupChange::default();
        }
        let entry = Entry { peer, since: now, last_heard: now, rtt, failures: 0, check_at: now };
        self.entries.insert(peer.id, entry);
        self.next_check = Some(self.next_check.map_or(now, |next| next.min(now)));
        let mut change = CloseGroupChange::default();
        if joins {
            self.close_group.insert(distance, peer);
            change.joined.push(peer);
            if self.close_group.len() > self.close_group_size
                && let Some((_, farthest)) = self.close_group.pop_last()
            {
                change.left.push(farthest);
                self.forget_if_placeless(&farthest.id);
            }
        }
        self.keep_within_capacity();
        change
    }

    fn forget_if_placeless(&mut self, id: &NodeId) {
        let in_bucket = self
            .bucket_index(id)
            .and_then(|index| self.buckets.get(&index))
            .is_some_and(|bucket| bucket.contains(id));
        if !in_bucket && !self.close_group.contains_key(&self.distance_to(id)) {
            self.remove_entry(id);
        }
    }

    fn remove_entry(&mut self, id: &NodeId) {
        let removed = self.entries.remove(id);
        if removed.is_some_and(|entry| Some(entry.check_at) == self.next_check) {
            self.find_next_check();
        }
    }

    fn find_next_check(&mut self) {
        self.next_check = self.entries.values().map(|entry| entry.check_at).min();
    }

    /// The earliest time at which a contact must be checked.
    pub(crate) const fn next_check(&self) -> Option<Instant> {
        self.next_check
    }

    /// Schedules the next check of a contact.
    pub(crate) fn check_at(&mut self, id: &NodeId, at: Instant) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let before = std::mem::replace(&mut entry.check_at, at);
        if self.next_check.is_none_or(|next| at <= next) {
            self.next_check = Some(at);
        } else if Some(before) == self.next_check {
            self.find_next_check();
        }
    }

    /// Evicts contacts outside of the close group, those with most failures and longest silence first.
    fn keep_within_capacity(&mut self) {
        while self.entries.len() > self.capacity {
            let evictable = self
                .buckets
                .values()
                .flat_map(KBucket::members)
                .filter(|id| !self.close_group.contains_key(&self.distance_to(id)))
                .filter_map(|id| self.entries.get(id))
                .min_by_key(|entry| (std::cmp::Reverse(entry.failures), entry.last_heard))
                .map(|entry| entry.peer.id);
            let Some(id) = evictable else { return };
            self.evicted += 1;
            self.remove(&id);
        }
    }

    /// Drops a contact, and returns a waiting one that may replace it once it answers a ping.
    pub fn remove(&mut self, id: &NodeId) -> (CloseGroupChange, Option<Peer>) {
        let mut change = CloseGroupChange::default();
        let Some(index) = self.bucket_index(id) else { return (change, None) };
        self.remove_entry(id);
        if let Some(peer) = self.close_group.remove(&self.distance_to(id)) {
            change.left.push(peer);
            change.joined.extend(self.next_in_close_group());
        }
        let mut candidate = None;
        if let Some(bucket) = self.buckets.get_mut(&index) {
            bucket.remove(id);
            candidate = bucket.take_replacement();
            if bucket.is_empty() {
                self.buckets.remove(&index);
            }
        }
        (change, candidate)
    }

    /// Adds the closest contact outside of the close group to it, after a member left.
    fn next_in_close_group(&mut self) -> Option<Peer> {
        let (distance, peer) = self
            .entries
            .values()
            .map(|entry| (self.distance_to(&entry.peer.id), entry.peer))
            .filter(|(distance, _)| !self.close_group.contains_key(distance))
            .min_by_key(|(distance, _)| *distance)?;
        self.close_group.insert(distance, peer);
        Some(peer)
    }

    /// The `count` contacts closest to `target`, closest first.
    #[must_use]
    pub fn closest(&self, target: &Key, count: usize) -> Vec<Peer> {
        self.closest_where(target, count, |_| true)
    }

    /// The `count` contacts closest to `target` that did not fail lately, closest first.
    #[must_use]
    pub fn closest_responsive(&self, target: &Key, count: usize) -> Vec<Peer> {
        self.closest_where(target, count, |entry| entry.failures == 0)
    }

    /// Of these, the ones heard since `since`.
    #[must_use]
    pub fn closest_heard(&self, target: &Key, count: usize, since: Instant) -> Vec<Peer> {
        self.closest_where(target, count, |it| it.failures == 0 && it.last_heard >= since)
    }

    fn closest_where(
        &self,
        target: &Key,
        count: usize,
        accept: impl Fn(&Entry) -> bool,
    ) -> Vec<Peer> {
        if count == 0 {
            return Vec::new();
        }
        let mut all: Vec<(Distance, &Peer)> = self
            .entries
            .values()
            .filter(|entry| accept(entry))
            .map(|entry| (entry.peer.distance(target), &entry.peer))
            .collect();
        if all.len() > count {
            all.select_nth_unstable_by_key(count - 1, |(distance, _)| *distance);
            all.truncate(count);
        }
        all.sort_unstable_by_key(|(distance, _)| *distance);
        all.into_iter().map(|(_, peer)| *peer).collect()
    }

    /// The close group, closest to the owner first.
    pub fn close_group(&self) -> impl Iterator<Item = &Peer> {
        self.close_group.values()
    }

    /// Whether `id` belongs to the close group.
    #[must_use]
    pub fn is_in_close_group(&self, id: &NodeId) -> bool {
        self.close_group.contains_key(&self.distance_to(id))
    }

    pub(crate) fn entry(&self, id: &NodeId) -> Option<&Entry> {
        self.entries.get(id)
    }

    pub(crate) fn entry_mut(&mut self, id: &NodeId) -> Option<&mut Entry> {
        self.entries.get_mut(id)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The number of contacts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the table has no contacts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Contacts evicted because the table was full.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The highest bucket index in use.
    #[must_use]
    pub fn depth(&self) -> u8 {
        self.buckets.last_key_value().map_or(0, |(index, _)| *index)
    }

    /// Estimated nodes in the network, this one included. The estimate is the rank of each member
    /// of the close group divided by its distance as a fraction of the space, averaged over the
    /// farther half (where the relative error, 1/sqrt(rank), is smaller). Exact while the close
    /// group is not full.
    #[must_use]
    pub fn network_size_estimate(&self) -> u64 {
        let count = self.close_group.len();
        if count < self.close_group_size {
            return self.entries.len() as u64 + 1;
        }
        let far_half = count / 2;
        let sum: f64 = self
            .close_group
            .keys()
            .enumerate()
            .skip(far_half)
            .map(|(index, distance)| (index + 1) as f64 / distance.fraction().max(1e-18))
            .sum();
        (sum / (count - far_half) as f64).round() as u64 + 1
    }

    /// A careful estimate of the nodes in the network, this one included: the least that a member of the farther
    /// half of the close group gives. Nodes that were made to be near raise the ranks of all others, and with
    /// them the mean, but those of the farthest by the smallest factor.
    #[must_use]
    pub(crate) fn careful_size_estimate(&self) -> u64 {
        let far_half = self.close_group.len() / 2;
        let of_each = self.close_group.keys().enumerate().skip(far_half);
        let least = of_each
            .map(|(index, distance)| (index + 1) as f64 / distance.fraction().max(1e-18))
            .fold(f64::INFINITY, f64::min);
        if least.is_finite() { least.round() as u64 + 1 } else { self.entries.len() as u64 + 1 }
    }

    /// The table, for diagnosis.
    #[must_use]
    pub fn view(&self, now: Instant) -> TableView {
        let mut contacts: Vec<PeerView> = self
            .entries
            .values()
            .map(|entry| PeerView {
                peer: entry.peer,
                rtt: entry.rtt,
                last_heard: now.since(entry.last_heard),
                failures: entry.failures,
                in_close_group: self.is_in_close_group(&entry.peer.id),
            })
            .collect();
        contacts.sort_by_key(|contact| self.distance_to(&contact.peer.id));
        TableView {
            size: self.entries.len(),
            capacity: self.capacity,
            network_size_estimate: self.network_size_estimate(),
            buckets: self
                .buckets
                .iter()
                .map(|(index, bucket)| (*index, bucket.members().len(), bucket.waiting()))
                .collect(),
            contacts,
        }
    }
}

#[cfg(test)]
mod tests;
