//! The messages of the last ten minutes: pushed to neighbours that lack them, announced in
//! summaries, and delivered to a reader that comes back.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, PublicKey};
use potluck_wire::IdRange;

use crate::message::MessageId;

/// How long a message is cached. A higher value repairs nodes that were away for longer and costs
/// memory.
pub(super) const CACHE_LIFE: Duration = Duration::from_secs(600);
/// Approximate memory of an entry beside its payload, in bytes.
const ENTRY_OVERHEAD_BYTES: usize = 256;
/// Entries of the delivery log allowed beyond twice the number of cached messages.
const DELIVERED_SPARE: usize = 64;
/// Senders, and holders, remembered for each message.
const SENDERS_MAX: usize = 4;

/// A cached message.
#[derive(Debug, Clone)]
pub(super) struct CachedMessage {
    /// When it arrived.
    pub(super) at: Instant,
    /// The encoded message, as it is forwarded.
    pub(super) bytes: Bytes,
    /// The senders of its copies, in order; empty if it is this node's own.
    senders: Vec<PublicKey>,
    /// Other peers that announced it.
    holders: Vec<PublicKey>,
    own: bool,
    /// Whether this node had to ask for it.
    pub(super) repaired: bool,
}

impl CachedMessage {
    /// Records a copy from `sender`; returns how many distinct senders delivered this message so
    /// far (our own publish counts as one).
    pub(super) fn add_sender(&mut self, sender: PublicKey) -> usize {
        let own = usize::from(self.own);
        if let Some(at) = self.senders.iter().position(|known| *known == sender) {
            return at + 1 + own;
        }
        if self.senders.len() < SENDERS_MAX {
            self.senders.reserve_exact(1);
            self.senders.push(sender);
            return self.senders.len() + own;
        }
        SENDERS_MAX + 1
    }

    /// Records that `peer` announced it.
    pub(super) fn add_holder(&mut self, peer: PublicKey) {
        if !self.holders.contains(&peer) && self.holders.len() < SENDERS_MAX {
            self.holders.reserve_exact(1);
            self.holders.push(peer);
        }
    }

    /// The first sender; `None` if it is this node's own.
    pub(super) fn source(&self) -> Option<PublicKey> {
        self.senders.first().copied().filter(|_| !self.own)
    }

    /// Whether `peer` sent a copy.
    pub(super) fn was_sent_by(&self, peer: &PublicKey) -> bool {
        self.senders.contains(peer)
    }

    /// Whether `peer` is known to have it.
    pub(super) fn is_known_to(&self, peer: &PublicKey) -> bool {
        self.senders.contains(peer) || self.holders.contains(peer)
    }
}

/// The cached messages of one topic.
#[derive(Debug, Clone, Default)]
pub(super) struct MessageCache {
    cached: BTreeMap<MessageId, CachedMessage>,
    order: VecDeque<MessageId>,
    /// Delivered and deliverable messages in the order of delivery; some are not cached any more.
    delivered: VecDeque<MessageId>,
    bytes: usize,
}

impl MessageCache {
    pub(super) fn len(&self) -> usize {
        self.cached.len()
    }

    /// Memory of all entries in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, id: &MessageId) -> Option<&CachedMessage> {
        self.cached.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &MessageId) -> Option<&mut CachedMessage> {
        self.cached.get_mut(id)
    }

    /// Caches a new message, and drops expired ones.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        id: MessageId,
        bytes: Bytes,
        from: Option<PublicKey>,
    ) {
        self.expire(now);
        let cost = bytes.len() + ENTRY_OVERHEAD_BYTES;
        let mut senders = Vec::with_capacity(usize::from(from.is_some()));
        senders.extend(from);
        let own = from.is_none();
        let cached =
            CachedMessage { at: now, bytes, senders, holders: Vec::new(), own, repaired: false };
        if self.cached.insert(id, cached).is_none() {
            self.order.push_back(id);
            self.bytes += cost;
        }
    }

    /// Drops expired messages.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.oldest().is_some_and(|at| now.since(at) > CACHE_LIFE) {
            self.drop_oldest();
        }
    }

    /// When the oldest message arrived.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.order.front().and_then(|id| self.cached.get(id)).map(|cached| cached.at)
    }

    /// Appends a message to the delivery log.
    pub(super) fn note_delivered(&mut self, id: MessageId) {
        self.delivered.push_back(id);
    }

    pub(super) fn drop_oldest(&mut self) {
        let Self { cached, delivered, .. } = self;
        while delivered.front().is_some_and(|id| !cached.contains_key(id)) {
            delivered.pop_front();
        }
        if delivered.len() > 2 * cached.len() + DELIVERED_SPARE {
            delivered.retain(|id| cached.contains_key(id));
        }
        if let Some(cached) = self.order.pop_front().and_then(|id| self.cached.remove(&id)) {
            self.bytes -= cached.bytes.len() + ENTRY_OVERHEAD_BYTES;
        }
    }

    /// The ids of the messages that arrived since `since`, as at most `ranges_max` ranges.
    pub(super) fn ranges_since(&self, since: Instant, ranges_max: usize) -> Vec<IdRange> {
        let young = self.cached.iter().filter(|(_, cached)| cached.at >= since).map(|(id, _)| *id);
        ranges(young, ranges_max)
    }

    /// The messages delivered after `after`, in that order; `None` if `after` is not cached.
    pub(super) fn delivered_after(
        &self,
        after: &MessageId,
    ) -> Option<impl Iterator<Item = (&MessageId, &CachedMessage)>> {
        let place = self.delivered.iter().position(|id| id == after)?;
        let behind = self.delivered.range(place + 1..);
        self.cached
            .contains_key(after)
            .then(|| behind.filter_map(|id| Some((id, self.cached.get(id)?))))
    }

    /// All delivered messages that are cached, in that order.
    pub(super) fn all_delivered(&self) -> impl Iterator<Item = (&MessageId, &CachedMessage)> {
        self.delivered.iter().filter_map(|id| Some((id, self.cached.get(id)?)))
    }
}

/// Ascending ids as ranges, at most `ranges_max`.
pub(super) fn ranges(ids: impl IntoIterator<Item = MessageId>, ranges_max: usize) -> Vec<IdRange> {
    let mut ranges: Vec<IdRange> = Vec::new();
    for MessageId { publisher, incarnation, sequence } in ids {
        if let Some(range) = ranges.last_mut()
            && (range.publisher, range.incarnation) == (publisher, incarnation)
            && range.first.checked_add(u64::from(range.count)) == Some(sequence)
            && range.count < u32::MAX
        {
            range.count += 1;
            continue;
        }
        if ranges.len() >= ranges_max {
            break;
        }
        ranges.push(IdRange { publisher, incarnation, first: sequence, count: 1 });
    }
    ranges
}

/// The ids in a range, from `floor` on, at most `max`.
pub(super) fn ids_in(range: &IdRange, floor: u64, max: usize) -> impl Iterator<Item = MessageId> {
    let IdRange { publisher, incarnation, first, count } = *range;
    let end = first.saturating_add(u64::from(count));
    (first.max(floor)..end).take(max).map(move |sequence| MessageId {
        publisher,
        incarnation,
        sequence,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_base::Identity;

    fn id(sequence: u64) -> MessageId {
        let publisher = Identity::from_seed([1; 32]).public_key();
        MessageId { publisher, incarnation: 1, sequence }
    }

    fn second(number: u64) -> Instant {
        Instant::from_micros(number * 1_000_000)
    }

    #[test]
    fn consecutive_ids_make_one_range_and_come_back() {
        let ids: Vec<MessageId> = [1, 2, 3, 7, 9, 10].map(id).to_vec();
        let ranges = ranges(ids.iter().copied(), 9);
        assert_eq!(
            ranges.iter().map(|range| (range.first, range.count)).collect::<Vec<_>>(),
            [(1, 3), (7, 1), (9, 2)]
        );
        let back: Vec<MessageId> = ranges.iter().flat_map(|range| ids_in(range, 0, 99)).collect();
        assert_eq!(back, ids);
    }

    #[test]
    fn a_range_to_the_last_number_does_not_overflow() {
        let range = IdRange { first: u64::MAX - 1, count: u32::MAX, ..ranges([id(1)], 1)[0] };
        assert_eq!(ids_in(&range, 0, 99).count(), 1);
        assert_eq!(ids_in(&range, u64::MAX, 99).count(), 0);
    }

    #[test]
    fn messages_are_cached_for_ten_minutes() {
        let mut cache = MessageCache::default();
        cache.insert(second(0), id(1), Bytes::from_static(b"a"), None);
        cache.insert(second(600), id(2), Bytes::from_static(b"b"), None);
        assert_eq!(cache.len(), 2);
        cache.insert(second(601), id(3), Bytes::from_static(b"c"), None);
        assert_eq!((cache.len(), cache.get(&id(1)).is_none()), (2, true));
        assert_eq!(cache.bytes(), 2 * (ENTRY_OVERHEAD_BYTES + 1));
        assert_eq!(cache.ranges_since(second(601), 9)[0].first, 3);
    }

    #[test]
    fn a_reader_that_comes_back_gets_what_it_missed() {
        let mut cache = MessageCache::default();
        for number in [3, 1, 2] {
            cache.insert(second(number), id(number), Bytes::new(), None);
            cache.note_delivered(id(number));
        }
        let after = id(3);
        let behind = cache.delivered_after(&after).expect("kept");
        assert_eq!(behind.map(|(id, _)| id.sequence).collect::<Vec<_>>(), [1, 2]);
        assert!(cache.delivered_after(&id(9)).is_none());
    }

    #[test]
    fn a_second_copy_from_one_neighbour_is_no_second_sender() {
        let mut cache = MessageCache::default();
        let [a, b] = [1, 2].map(|seed| Identity::from_seed([seed; 32]).public_key());
        cache.insert(second(0), id(1), Bytes::new(), Some(a));
        let cached = cache.get_mut(&id(1)).expect("kept");
        assert_eq!([cached.add_sender(a), cached.add_sender(b), cached.add_sender(b)], [1, 2, 2]);
    }
}
