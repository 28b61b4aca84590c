//! The routing table: k-buckets over the whole space, and the siblings around the owner.
//!
//! **Invariants:** every contact in it has answered us at its address; a contact is in its bucket,
//! among the siblings, or both, else it is not in the table; never more than `capacity` contacts.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::{BucketIndex, Distance, Instant, Key, NodeId, Peer};

use crate::kbucket::{KBucket, Placed};

/// What the table knows of a contact.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) peer: Peer,
    /// When it came into the table.
    pub(crate) since: Instant,
    pub(crate) last_heard: Instant,
    pub(crate) rtt: Option<Duration>,
    /// Requests in a row that got no answer.
    pub(crate) failures: u8,
    /// When a heartbeat or check is due; set with [`RoutingTable::check_at`].
    check_at: Instant,
}

impl Entry {
    pub(crate) const fn check_at(&self) -> Instant {
        self.check_at
    }
}

/// A contact as shown to people.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerView {
    /// Who and where.
    pub peer: Peer,
    /// The last round-trip time.
    pub rtt: Option<Duration>,
    /// How long ago it was heard.
    pub last_heard: Duration,
    /// Requests in a row that got no answer.
    pub failures: u8,
    /// Whether it is one of the owner's siblings.
    pub sibling: bool,
}

/// The table as shown to people.
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

/// Who joined and who left the sibling list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SiblingChange {
    /// Newly among the closest.
    pub joined: Vec<Peer>,
    /// No longer among the closest.
    pub left: Vec<Peer>,
}

impl SiblingChange {
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
    siblings_max: usize,
    capacity: usize,
    entries: BTreeMap<NodeId, Entry>,
    buckets: BTreeMap<u8, KBucket>,
    siblings: BTreeMap<Distance, Peer>,
    /// The earliest check, kept because it is asked for after every datagram.
    next_check: Option<Instant>,
    evicted: u64,
}

impl RoutingTable {
    /// An empty table around `me`.
    #[must_use]
    pub fn new(me: NodeId, k: usize, siblings_max: usize, capacity: usize) -> Self {
        Self {
            me,
            k,
            siblings_max,
            capacity,
            entries: BTreeMap::new(),
            buckets: BTreeMap::new(),
            siblings: BTreeMap::new(),
            next_check: None,
            evicted: 0,
        }
    }

    fn bucket_index(&self, id: &NodeId) -> Option<u8> {
        BucketIndex::of(&self.me.distance(&Key::from(*id))).map(BucketIndex::get)
    }

    fn distance_to(&self, id: &NodeId) -> Distance {
        self.me.distance(&Key::from(*id))
    }

    fn would_be_sibling(&self, distance: &Distance) -> bool {
        self.siblings.len() < self.siblings_max
            || self.siblings.last_key_value().is_some_and(|(farthest, _)| distance < farthest)
    }

    /// Whether fewer than `k` siblings are closer than `id`.
    pub(crate) fn is_nearest(&self, id: &NodeId) -> bool {
        self.siblings.range(..self.distance_to(id)).take(self.k).count() < self.k
    }

    /// Whether `id` would get a place if it proved itself; asked before spending a ping on it.
    #[must_use]
    pub fn would_admit(&self, id: &NodeId) -> bool {
        let Some(index) = self.bucket_index(id) else { return false };
        !self.entries.contains_key(id)
            && (self.buckets.get(&index).is_none_or(|bucket| bucket.has_room(self.k))
                || self.would_be_sibling(&self.distance_to(id)))
    }

    /// Takes a contact in that has just proved itself to us, or notes that it is alive.
    pub fn admit(&mut self, now: Instant, peer: Peer, rtt: Option<Duration>) -> SiblingChange {
        if let Some(entry) = self.entries.get_mut(&peer.id) {
            // The proof was made at this address, so a contact that moved is followed.
            let old = std::mem::replace(&mut entry.peer, peer);
            entry.last_heard = now;
            entry.failures = 0;
            entry.rtt = rtt.or(entry.rtt);
            let distance = self.distance_to(&peer.id);
            let mut change = SiblingChange::default();
            if old != peer && self.siblings.contains_key(&distance) {
                self.siblings.insert(distance, peer);
                change.joined.push(peer);
                change.left.push(old);
            }
            return change;
        }
        let Some(index) = self.bucket_index(&peer.id) else { return SiblingChange::default() };
        let placed = self.buckets.entry(index).or_default().place(peer, self.k);
        let distance = self.distance_to(&peer.id);
        let sibling = self.would_be_sibling(&distance);
        if placed == Placed::Waiting && !sibling {
            return SiblingChange::default();
        }
        let entry = Entry { peer, since: now, last_heard: now, rtt, failures: 0, check_at: now };
        self.entries.insert(peer.id, entry);
        self.next_check = Some(self.next_check.map_or(now, |next| next.min(now)));
        let mut change = SiblingChange::default();
        if sibling {
            self.siblings.insert(distance, peer);
            change.joined.push(peer);
            if self.siblings.len() > self.siblings_max
                && let Some((_, farthest)) = self.siblings.pop_last()
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
        if !in_bucket && !self.siblings.contains_key(&self.distance_to(id)) {
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

    /// When the first of all contacts is to be checked.
    pub(crate) const fn next_check(&self) -> Option<Instant> {
        self.next_check
    }

    /// The contact is to be checked then.
    pub(crate) fn check_at(&mut self, id: &NodeId, at: Instant) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let before = std::mem::replace(&mut entry.check_at, at);
        if self.next_check.is_none_or(|next| at <= next) {
            self.next_check = Some(at);
        } else if Some(before) == self.next_check {
            self.find_next_check();
        }
    }

    /// Evicts from the farthest buckets, most failures and longest silence first; never siblings.
    fn keep_within_capacity(&mut self) {
        while self.entries.len() > self.capacity {
            let evictable = self
                .buckets
                .values()
                .flat_map(KBucket::members)
                .filter(|id| !self.siblings.contains_key(&self.distance_to(id)))
                .filter_map(|id| self.entries.get(id))
                .min_by_key(|entry| (std::cmp::Reverse(entry.failures), entry.last_heard))
                .map(|entry| entry.peer.id);
            let Some(id) = evictable else { return };
            self.evicted += 1;
            self.remove(&id);
        }
    }

    /// Drops a contact and gives a waiting one to prove in its place.
    pub fn remove(&mut self, id: &NodeId) -> (SiblingChange, Option<Peer>) {
        let mut change = SiblingChange::default();
        let Some(index) = self.bucket_index(id) else { return (change, None) };
        self.remove_entry(id);
        if let Some(peer) = self.siblings.remove(&self.distance_to(id)) {
            change.left.push(peer);
            change.joined.extend(self.next_sibling());
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

    /// Moves the closest contact that is not yet a sibling up to the free sibling place.
    fn next_sibling(&mut self) -> Option<Peer> {
        let (distance, peer) = self
            .entries
            .values()
            .map(|entry| (self.distance_to(&entry.peer.id), entry.peer))
            .filter(|(distance, _)| !self.siblings.contains_key(distance))
            .min_by_key(|(distance, _)| *distance)?;
        self.siblings.insert(distance, peer);
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

    /// The siblings, closest to the owner first.
    pub fn siblings(&self) -> impl Iterator<Item = &Peer> {
        self.siblings.values()
    }

    /// Whether `id` is a sibling.
    #[must_use]
    pub fn is_sibling(&self, id: &NodeId) -> bool {
        self.siblings.contains_key(&self.distance_to(id))
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

    /// How many contacts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Contacts evicted because the table was full.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The highest bucket index in use: how deep the owner's neighbourhood is known.
    #[must_use]
    pub fn depth(&self) -> u8 {
        self.buckets.last_key_value().map_or(0, |(index, _)| *index)
    }

    /// Estimated nodes in the network, this one included: the rank of each sibling divided by the
    /// fraction of the space it lies away, averaged over the farther half (where the relative
    /// error, 1/sqrt(rank), is smaller). Exact while fewer nodes are known than siblings kept.
    #[must_use]
    pub fn network_size_estimate(&self) -> u64 {
        let count = self.siblings.len();
        if count < self.siblings_max {
            return self.entries.len() as u64 + 1;
        }
        let far_half = count / 2;
        let sum: f64 = self
            .siblings
            .keys()
            .enumerate()
            .skip(far_half)
            .map(|(index, distance)| (index + 1) as f64 / distance.fraction().max(1e-18))
            .sum();
        (sum / (count - far_half) as f64).round() as u64 + 1
    }

    /// The table as shown to people.
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
                sibling: self.is_sibling(&entry.peer.id),
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
