//! Keeping replica sets full when the close group changes, without any lookup.
//!
//! When the close group changes, a holder scans only the keys that the changed nodes can concern and
//! offers (key, digest) to nodes that newly belong to a replica set; those pull the records they lack.
//! Of the surviving holders, the closest offers at once and the second closest a little later, in case
//! the first has failed undetected. When one of these two has died, the two that are now closest offer
//! to the whole set, because the dead one may not have made its last offers.
//!
//! The same two, and any holder outside of the set, also offer every changed record to the whole set a
//! little later. So a lost store request, a replica that was away, and the two sides of a healed
//! partition converge without waiting for a reader. A node that pulls an offered record and then holds
//! more than the offerer offers it back, once for each state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use potluck_base::{Deadline, Instant, Key, LruMap, NodeId, Peer};
use potluck_record::{StateDigest, StorageOp, StorageReply};
use potluck_wire::limits::{OFFER_ENTRIES_DATAGRAM, OFFER_ENTRIES_MAX};
use potluck_wire::{OfferEntry, Request};

use crate::core::{AskPurpose, Core, OfferId, Offered, OpPurpose};
use crate::event::Delivery;
use crate::placement::CloseGroup;

/// Keys per page of a scan. Larger pages take fewer storage operations and more memory.
const PAGE: u32 = 256;
/// Pending offers, in keys, at which scans pause. Raising it costs memory.
const OFFERS_MAX: usize = 16_384;
/// Delay of the second holder's offer after the first one's. A guess: longer than the first's offer and
/// the pull take, shorter than a failure detection.
const SECOND_OFFER_DELAY: Duration = Duration::from_secs(3);
/// Delay between a change of a record and its offer. It is long enough for the writer's own store
/// requests to arrive, so that usually the offered replicas already have the change, and for many keys
/// to share one offer. Raising it delays convergence.
const CHANGE_DELAY: Duration = Duration::from_secs(2);
/// Delay between a change of a record and the offer of the second holder; it exceeds
/// [`CHANGE_DELAY`] so that usually the first holder's offer suffices.
const SECOND_CHANGE_DELAY: Duration = Duration::from_secs(7);
/// Keys that become due within this time share an offer. Raising it makes fewer and earlier offers.
const OFFER_TOGETHER: Duration = Duration::from_secs(1);
/// Delay between a pull and the offer back of what this node holds beyond it; in this time later
/// envelopes of the same pull arrive.
const OFFER_BACK_DELAY: Duration = Duration::from_secs(1);
/// Offers back that are remembered, so that none is repeated for the same state. Raising it costs
/// memory.
const OFFERED_BACK_MAX: usize = 4096;
/// Delay before an unanswered offer is repeated.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// Delay before a node that answered no offer is treated as a new member of the close group again.
const GIVEN_UP_DELAY: Duration = Duration::from_secs(60);
/// Longest time for which a node that said it would be back counts as present. Raising it saves traffic at
/// slow restarts, and a record has a replica less for longer.
const PAUSE_MAX: Duration = Duration::from_secs(120);
/// Consecutive unanswered offers after which a node is given up for [`GIVEN_UP_DELAY`].
const TRIES_MAX: u8 = 5;

/// The pending offers to one node.
#[derive(Debug, Clone)]
struct Offers {
    peer: Peer,
    /// Digests by key, each with the earliest instant at which it may be offered.
    entries: BTreeMap<Key, (StateDigest, Instant)>,
    in_flight: Vec<(Key, StateDigest)>,
    /// Identifies the offer whose answer is awaited.
    generation: u64,
    next: Instant,
    tries: u8,
}

/// A scan of the keys that a change of the close group concerns.
#[derive(Debug, Clone)]
struct RepairScan {
    before: CloseGroup,
    after: CloseGroup,
    ranges: VecDeque<(Key, Key)>,
    scanning: bool,
    generation: u64,
}

/// The repair of replica sets by one node.
#[derive(Debug, Clone)]
pub(crate) struct Repair {
    /// The close group that replicas were last repaired for.
    settled: CloseGroup,
    due: Option<Instant>,
    scan: Option<RepairScan>,
    offers: BTreeMap<NodeId, Offers>,
    leaving: bool,
    /// Nodes that have said that they will be back, and until when they count as present.
    paused: BTreeMap<NodeId, Instant>,
    /// When a node is late that should be back.
    late: Option<Instant>,
    /// The digest last offered back per node and key, so that two nodes that can never agree (an
    /// envelope is too old for one of them) do not offer for ever.
    offered_back: LruMap<(NodeId, Key), StateDigest>,
    /// Keys that other nodes announced to pull.
    pub(crate) promised: u64,
}

impl Repair {
    pub(crate) fn new(me: Peer) -> Self {
        Self {
            settled: CloseGroup::new(me, []),
            due: None,
            scan: None,
            offers: BTreeMap::new(),
            leaving: false,
            paused: BTreeMap::new(),
            late: None,
            offered_back: LruMap::new(OFFERED_BACK_MAX),
            promised: 0,
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.offers.values().map(|offers| offers.entries.len()).sum()
    }

    /// The close group changed: schedules a repair, so that a burst of changes is handled at once.
    pub(crate) fn on_change(&mut self, core: &Core, now: Instant) {
        if core.serves && !self.leaving {
            self.due.get_or_insert(now + core.config.repair_delay);
        }
    }

    /// A node of the close group stops and will be back within `time`: until then its replicas are not made
    /// elsewhere.
    pub(crate) fn on_pauses(&mut self, core: &Core, now: Instant, node: NodeId, time: Duration) {
        self.paused.retain(|_, until| *until > now);
        if core.close_group.contains(&node) && node != core.me.id {
            self.paused.insert(node, now + time.min(PAUSE_MAX));
        }
    }

    /// A record here changed. The closest holder, later the second closest, and any holder that
    /// does not belong to the replica set offer it to the set.
    pub(crate) fn on_changed(&mut self, core: &Core, now: Instant, key: Key, digest: StateDigest) {
        if !core.serves || self.leaving || self.waiting() >= OFFERS_MAX || !core.sees_replicas(&key)
        {
            return;
        }
        let set = core.replica_set(&key);
        let delay = match set.iter().position(|peer| peer.id == core.me.id) {
            Some(0) | None => CHANGE_DELAY,
            Some(1) => SECOND_CHANGE_DELAY,
            Some(_) => return,
        };
        for peer in set.into_iter().filter(|peer| peer.id != core.me.id) {
            self.enqueue(peer, key, digest, now + delay);
        }
    }

    /// A pulled envelope was stored. If this node now holds more than the offerer did, it offers
    /// its state back. Later envelopes of the same pull correct the digest before the offer is
    /// made.
    pub(crate) fn on_pulled(
        &mut self,
        core: &Core,
        now: Instant,
        key: Key,
        offered: Offered,
        digest: StateDigest,
    ) {
        let place = (offered.by.id, key);
        if digest == offered.digest {
            if let Some(offers) = self.offers.get_mut(&offered.by.id) {
                offers.entries.remove(&key);
            }
            return;
        }
        let told = self.offered_back.peek(&place) == Some(&digest);
        if told || self.leaving || !core.close_group.contains(&offered.by.id) {
            return;
        }
        self.offered_back.insert(place, digest);
        self.enqueue(offered.by, key, digest, now + OFFER_BACK_DELAY);
    }

    /// This node leaves: offers its keys to the nodes that replace it in replica sets, and to new
    /// members of the close group for which no repair was made yet.
    pub(crate) fn leave(&mut self, core: &mut Core, now: Instant) {
        self.leaving = true;
        self.due = None;
        for offers in self.offers.values_mut() {
            offers.next = now;
            offers.entries.values_mut().for_each(|(_, from)| *from = now);
        }
        let all = (Key::from_bytes([0; 32]), Key::from_bytes([0xff; 32]));
        let before = self.scan.take().map_or_else(|| self.settled.clone(), |scan| scan.before);
        let after = core.close_group.without(&core.me.id);
        let generation = core.fresh_id();
        let ranges = [all].into();
        self.scan = Some(RepairScan { before, after, ranges, scanning: false, generation });
        self.scan_next(core);
    }

    /// Whether no scan and no offer is pending.
    pub(crate) fn is_quiet(&self) -> bool {
        self.scan.is_none() && self.offers.is_empty()
    }

    /// Whether a change of the close group is still to be acted upon.
    pub(crate) fn is_repairing(&self) -> bool {
        self.scan.is_some() || self.due.is_some() || self.leaving
    }

    /// Whether as many keys wait to be offered as may.
    pub(crate) fn is_crowded(&self) -> bool {
        self.waiting() >= OFFERS_MAX
    }

    /// Offers a key to a node that was found to lack its state.
    pub(crate) fn offer_found(&mut self, peer: Peer, key: Key, digest: StateDigest, now: Instant) {
        self.enqueue(peer, key, digest, now);
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let offers = self
            .offers
            .values()
            .filter(|offers| offers.in_flight.is_empty())
            .map(|offers| offers.next)
            .min();
        Deadline::earliest([
            self.due.filter(|_| self.scan.is_none()).map(|at| Deadline::new(at, "repair")),
            self.late.map(|at| Deadline::new(at, "paused node")),
            offers.map(|at| Deadline::new(at, "offer")),
        ])
    }

    pub(crate) fn on_timeout(&mut self, core: &mut Core, now: Instant) {
        if self.late.is_some_and(|late| late <= now) {
            self.late = None;
            self.on_change(core, now);
        }
        if self.scan.is_none() && self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.begin(core, now);
        }
        let due: Vec<NodeId> = self
            .offers
            .iter()
            .filter(|(_, offers)| offers.in_flight.is_empty() && offers.next <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.offer(core, now, &id);
        }
    }

    /// The close group, and the nodes gone from it that will be back soon.
    pub(crate) fn expected(&mut self, core: &Core, now: Instant) -> CloseGroup {
        self.paused.retain(|_, until| *until > now);
        let gone = self.settled.minus(&core.close_group);
        let back = gone.into_iter().filter(|peer| self.paused.contains_key(&peer.id));
        let back: Vec<Peer> = back.collect();
        self.late = back.iter().filter_map(|peer| self.paused.get(&peer.id).copied()).min();
        core.close_group.with(back)
    }

    fn begin(&mut self, core: &mut Core, now: Instant) {
        let after = self.expected(core, now);
        let before = self.settled.clone();
        let r = core.replication();
        let mut ranges = BTreeSet::new();
        // The reach of a new node is computed in the new group, that of a lost node in the old group.
        for (changed, among) in after
            .minus(&before)
            .iter()
            .map(|peer| (peer, &after))
            .chain(before.minus(&after).iter().map(|peer| (peer, &before)))
        {
            let reach = among.reach(&changed.id, r);
            let place = Key::from(changed.id);
            ranges.insert((place.prefix_bound(reach, false), place.prefix_bound(reach, true)));
        }
        self.settled = after.clone();
        let ranges = merged(ranges);
        if !ranges.is_empty() {
            let generation = core.fresh_id();
            self.scan = Some(RepairScan { before, after, ranges, scanning: false, generation });
            self.scan_next(core);
        }
    }

    fn scan_next(&mut self, core: &mut Core) {
        let crowded = self.waiting() >= OFFERS_MAX;
        let Some(scan) = &mut self.scan else { return };
        if scan.scanning || crowded {
            return;
        }
        if let Some((from, to)) = scan.ranges.front().copied() {
            scan.scanning = true;
            core.storage(
                StorageOp::Scan { from, to, limit: PAGE },
                OpPurpose::RepairScan(scan.generation),
            );
        } else {
            self.scan = None;
        }
    }

    /// Takes a page of keys for the scan of this generation.
    pub(crate) fn on_scanned(
        &mut self,
        core: &mut Core,
        now: Instant,
        generation: u64,
        reply: StorageReply,
    ) {
        let Some(mut scan) = self.scan.take_if(|scan| scan.generation == generation) else {
            return;
        };
        scan.scanning = false;
        let StorageReply::Scanned { entries, more } = reply else {
            // The store failed: the change is handled again later.
            self.settled = scan.before;
            self.due.get_or_insert(now + GIVEN_UP_DELAY);
            return;
        };
        for (key, digest) in &entries {
            self.consider(core, now, &scan, *key, *digest);
        }
        let rest = scan.ranges.pop_front().filter(|_| more).zip(entries.last());
        if let Some(((_, to), (last, _))) = rest
            && let Some(from) = next_key(last)
        {
            scan.ranges.push_front((from, to));
        }
        self.scan = Some(scan);
        self.scan_next(core);
        let ready: Vec<NodeId> = self.offers.keys().copied().collect();
        for id in ready {
            self.offer(core, now, &id);
        }
    }

    /// Queues the offers of this key that are due from this node after the change of the close group.
    fn consider(
        &mut self,
        core: &mut Core,
        now: Instant,
        scan: &RepairScan,
        key: Key,
        digest: StateDigest,
    ) {
        let r = core.replication();
        let old = scan.before.replica_set(&key, r);
        let new = scan.after.replica_set(&key, r);
        let newcomers = |peer: &&Peer| !old.contains(peer) && peer.id != core.me.id;
        if self.leaving {
            let targets: Vec<Peer> = new.iter().filter(newcomers).copied().collect();
            targets.iter().for_each(|peer| self.enqueue(*peer, key, digest, now));
            return;
        }
        let survivors: Vec<&Peer> =
            old.iter().filter(|peer| scan.after.contains(&peer.id)).collect();
        let rank = survivors.iter().position(|peer| peer.id == core.me.id);
        let delay = match rank {
            Some(0) => Duration::ZERO,
            Some(1) => SECOND_OFFER_DELAY,
            // No member of the old replica set is left, so any other holder offers.
            None if survivors.is_empty() && core.sees_replicas(&key) => Duration::ZERO,
            Some(_) | None => return,
        };
        let lost_offerer = old.iter().take(2).any(|peer| !scan.after.contains(&peer.id));
        let targets: Vec<Peer> = new
            .iter()
            .filter(|peer| peer.id != core.me.id)
            .filter(|peer| lost_offerer || newcomers(peer))
            .copied()
            .collect();
        targets.iter().for_each(|peer| self.enqueue(*peer, key, digest, now + delay));
    }

    fn enqueue(&mut self, peer: Peer, key: Key, digest: StateDigest, from: Instant) {
        let offers = self.offers.entry(peer.id).or_insert_with(|| Offers {
            peer,
            entries: BTreeMap::new(),
            in_flight: Vec::new(),
            generation: 0,
            next: from,
            tries: 0,
        });
        offers.next = offers.next.min(from);
        let entry = offers.entries.entry(key).or_insert((digest, from));
        *entry = if entry.0 == digest { (digest, from.min(entry.1)) } else { (digest, from) };
    }

    /// Makes the due offers to one node, in a datagram or, if they are many, in a call.
    fn offer(&mut self, core: &mut Core, now: Instant, id: &NodeId) {
        let Some(offers) = self.offers.get_mut(id) else { return };
        if !offers.in_flight.is_empty() || offers.next > now {
            return;
        }
        let due = offers.entries.values().filter(|(_, from)| *from <= now).count();
        if due == 0 {
            let next = offers.entries.values().map(|(_, from)| *from).min();
            match next {
                Some(next) => offers.next = next,
                None => {
                    self.offers.remove(id);
                }
            }
            return;
        }
        // Keys that are due soon are included: keys change one by one, and each offer costs a round
        // trip.
        let soon = now + OFFER_TOGETHER;
        let together = offers.entries.values().filter(|(_, from)| *from <= soon).count();
        let by_call = together > 4 * OFFER_ENTRIES_DATAGRAM;
        let most = if by_call { OFFER_ENTRIES_MAX } else { OFFER_ENTRIES_DATAGRAM };
        let entries: Vec<OfferEntry> = offers
            .entries
            .iter()
            .filter(|(_, (_, from))| *from <= soon)
            .take(most)
            .map(|(key, (digest, _))| OfferEntry { key: *key, digest: *digest })
            .collect();
        offers.in_flight = entries.iter().map(|entry| (entry.key, entry.digest)).collect();
        offers.generation = core.fresh_id();
        core.stats.keys_offered += entries.len() as u64;
        let delivery = if by_call { Delivery::Call } else { Delivery::Fitting };
        core.ask(
            offers.peer,
            Request::Offer { entries },
            delivery,
            AskPurpose::Offer(OfferId { to: *id, generation: offers.generation }),
        );
    }

    /// Takes the answer to an offer: the number of keys that the node will pull; `None` if it failed.
    pub(crate) fn on_offered(
        &mut self,
        core: &mut Core,
        now: Instant,
        offer: OfferId,
        wanted: Option<u32>,
    ) {
        let OfferId { to: id, generation } = offer;
        let known = core.close_group.contains(&id);
        let found = self.offers.get_mut(&id).filter(|offers| offers.generation == generation);
        let Some(offers) = found else { return };
        let asked = std::mem::take(&mut offers.in_flight);
        match wanted {
            Some(wanted) => {
                self.promised += u64::from(wanted);
                offers.tries = 0;
                offers.next = now;
                for (key, digest) in &asked {
                    // A key that changed meanwhile stays queued and is offered again.
                    if offers.entries.get(key).is_some_and(|entry| entry.0 == *digest) {
                        offers.entries.remove(key);
                    }
                }
                self.offer(core, now, &id);
            }
            None => {
                offers.tries += 1;
                offers.next = now + RETRY_DELAY;
                let given_up = offers.tries >= TRIES_MAX;
                if given_up || !known {
                    self.offers.remove(&id);
                }
                if given_up && known && !self.leaving {
                    // The node still belongs to the close group: treat it as a new member later.
                    self.settled = self.settled.without(&id);
                    self.due.get_or_insert(now + GIVEN_UP_DELAY);
                }
            }
        }
        self.scan_next(core);
    }
}

/// The ranges that are not nested in another one; prefix ranges either nest or are disjoint.
fn merged(ranges: BTreeSet<(Key, Key)>) -> VecDeque<(Key, Key)> {
    let all: Vec<(Key, Key)> = ranges.into_iter().collect();
    all.iter()
        .filter(|inner| {
            !all.iter().any(|outer| outer != *inner && outer.0 <= inner.0 && inner.1 <= outer.1)
        })
        .copied()
        .collect()
}

/// The next key after `key`; `None` after the highest one.
pub(crate) fn next_key(key: &Key) -> Option<Key> {
    let mut bytes = *key.as_bytes();
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(Key::from_bytes(bytes));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_ranges_are_scanned_once() {
        let key = Key::from_bytes([0x55; 32]);
        let range = |bits| (key.prefix_bound(bits, false), key.prefix_bound(bits, true));
        let ranges: BTreeSet<_> = [range(4), range(9), range(6)].into_iter().collect();
        assert_eq!(merged(ranges), [range(4)]);
    }

    #[test]
    fn the_next_key_carries_over_and_ends_at_the_last_key() {
        let mut bytes = [0; 32];
        bytes[31] = 0xff;
        let next = next_key(&Key::from_bytes(bytes)).expect("not the last");
        assert_eq!((next.as_bytes()[30], next.as_bytes()[31]), (1, 0));
        assert_eq!(next_key(&Key::from_bytes([0xff; 32])), None);
    }
}
