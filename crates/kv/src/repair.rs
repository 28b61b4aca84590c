//! Keeping replica sets full when neighbours come and go, without a single lookup.
//!
//! When the sibling list changes, a holder scans only the keys that the changed nodes can concern
//! and offers (key, digest) to nodes that newly belong to a replica set; those pull what they lack.
//! Of the surviving holders the closest offers at once and the next one a little later, in case
//! the first is gone too without anybody knowing yet. When one of those two has died, the two that
//! now stand first offer to the whole set, since the dead one may have owed an offer.
//!
//! The same two, and any holder outside of the set, also pass on every change of a record to the
//! whole set a little later: a store that got lost, a replica that was away, and the two sides of a
//! healed split converge without waiting for a reader. Whoever pulls what was offered and then holds
//! more than the offerer offers it back, once for each state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use potluck_base::{Deadline, Instant, Key, LruMap, NodeId, Peer};
use potluck_record::{StateDigest, StorageOp, StorageReply};
use potluck_wire::limits::{OFFER_ENTRIES_DATAGRAM, OFFER_ENTRIES_MAX};
use potluck_wire::{OfferEntry, Request};

use crate::core::{AskFor, Core, Offered, OpFor, Way};
use crate::placement::Neighbourhood;

/// Keys per page of a scan.
const PAGE: u32 = 256;
/// Keys waiting to be offered; a scan pauses beyond.
const OFFERS_MAX: usize = 16_384;
/// How much later than the first the second holder offers. A guess: longer than the first's offer
/// and the pull take, shorter than a failure detection.
const SECOND_OFFER_DELAY: Duration = Duration::from_secs(3);
/// How long after a change it is passed on: long enough for the writer's own stores to arrive, so
/// that as a rule the offer finds nothing to do, and for many keys to share one offer.
const CHANGE_DELAY: Duration = Duration::from_secs(2);
/// How long after a change the second holder passes it on.
const SECOND_CHANGE_DELAY: Duration = Duration::from_secs(7);
/// Keys that become due within this of each other share an offer.
const OFFER_TOGETHER: Duration = Duration::from_secs(1);
/// How long after a pull what is held beyond it is offered back.
const OFFER_BACK_DELAY: Duration = Duration::from_secs(1);
/// Offers back that are remembered.
const OFFERED_BACK_MAX: usize = 4096;
/// Pause before an offer that got no answer is made again.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// Pause before a node that could not be offered anything is treated as a newcomer again.
const GIVEN_UP_DELAY: Duration = Duration::from_secs(60);
/// Offers to one node that got no answer before it is given up for a while.
const TRIES_MAX: u8 = 5;

/// What is to be offered to one node.
#[derive(Debug, Clone)]
struct Offers {
    peer: Peer,
    /// By key, with the instant from which on it may be offered.
    entries: BTreeMap<Key, (StateDigest, Instant)>,
    in_flight: Vec<(Key, StateDigest)>,
    /// Which offer the answer awaited belongs to.
    generation: u64,
    next: Instant,
    tries: u8,
}

/// A scan of the keys that a change concerns.
#[derive(Debug, Clone)]
struct Run {
    before: Neighbourhood,
    after: Neighbourhood,
    ranges: VecDeque<(Key, Key)>,
    scanning: bool,
    generation: u64,
}

/// All repair of one node.
#[derive(Debug, Clone)]
pub(crate) struct Repair {
    /// The neighbourhood that replicas were last repaired for.
    settled: Neighbourhood,
    due: Option<Instant>,
    run: Option<Run>,
    offers: BTreeMap<NodeId, Offers>,
    leaving: bool,
    /// What was offered back last, so that two who can never agree (an envelope is too old for one
    /// of them) do not go on for ever.
    offered_back: LruMap<(NodeId, Key), StateDigest>,
    /// Keys that others said they will pull from a leaving node.
    pub(crate) promised: u64,
}

impl Repair {
    pub(crate) fn new(me: Peer) -> Self {
        Self {
            settled: Neighbourhood::new(me, []),
            due: None,
            run: None,
            offers: BTreeMap::new(),
            leaving: false,
            offered_back: LruMap::new(OFFERED_BACK_MAX),
            promised: 0,
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.offers.values().map(|offers| offers.entries.len()).sum()
    }

    /// The sibling list changed; look at the consequences once it has settled.
    pub(crate) fn on_change(&mut self, core: &Core, now: Instant) {
        if core.serves && !self.leaving {
            self.due.get_or_insert(now + core.config.repair_delay);
        }
    }

    /// A replica here changed: the closest holder, the next one later, and any holder that does not
    /// belong to the replica set pass it on to the set.
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

    /// A pulled envelope is in: if this node now holds more than the offerer did, it offers that
    /// back. Later envelopes of the same pull correct the digest before the offer is made.
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
        if told || self.leaving || !core.around.contains(&offered.by.id) {
            return;
        }
        self.offered_back.insert(place, digest);
        self.enqueue(offered.by, key, digest, now + OFFER_BACK_DELAY);
    }

    /// This node leaves: offer its keys to those who take its places, and to newcomers that replicas
    /// had not been repaired for yet.
    pub(crate) fn leave(&mut self, core: &mut Core, now: Instant) {
        self.leaving = true;
        self.due = None;
        for offers in self.offers.values_mut() {
            offers.next = now;
            offers.entries.values_mut().for_each(|(_, from)| *from = now);
        }
        let all = (Key::from_bytes([0; 32]), Key::from_bytes([0xff; 32]));
        let before = self.run.take().map_or_else(|| self.settled.clone(), |run| run.before);
        let after = core.around.without(&core.me.id);
        let generation = core.fresh_id();
        let ranges = [all].into();
        self.run = Some(Run { before, after, ranges, scanning: false, generation });
        self.scan(core);
    }

    /// Whether everything has been offered and answered.
    pub(crate) fn is_quiet(&self) -> bool {
        self.run.is_none() && self.offers.is_empty()
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let offers = self
            .offers
            .values()
            .filter(|offers| offers.in_flight.is_empty())
            .map(|offers| offers.next)
            .min();
        Deadline::earliest([
            self.due.filter(|_| self.run.is_none()).map(|at| Deadline::new(at, "repair")),
            offers.map(|at| Deadline::new(at, "offer")),
        ])
    }

    pub(crate) fn on_timeout(&mut self, core: &mut Core, now: Instant) {
        if self.run.is_none() && self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.begin(core);
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

    fn begin(&mut self, core: &mut Core) {
        let (before, after) = (self.settled.clone(), core.around.clone());
        let r = core.replication();
        let mut ranges = BTreeSet::new();
        // A newcomer is measured among the nodes of now, a lost one among those of before.
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
            self.run = Some(Run { before, after, ranges, scanning: false, generation });
            self.scan(core);
        }
    }

    fn scan(&mut self, core: &mut Core) {
        let crowded = self.waiting() >= OFFERS_MAX;
        let Some(run) = &mut self.run else { return };
        if run.scanning || crowded {
            return;
        }
        if let Some((from, to)) = run.ranges.front().copied() {
            run.scanning = true;
            core.storage(
                StorageOp::Scan { from, to, limit: PAGE },
                OpFor::RepairScan(run.generation),
            );
        } else {
            self.run = None;
        }
    }

    /// A page of keys came, for the run of this generation.
    pub(crate) fn on_scanned(
        &mut self,
        core: &mut Core,
        now: Instant,
        generation: u64,
        reply: StorageReply,
    ) {
        let Some(mut run) = self.run.take_if(|run| run.generation == generation) else { return };
        run.scanning = false;
        let StorageReply::Scanned { entries, more } = reply else {
            // Unreadable now: as if the change had not been looked at yet.
            self.settled = run.before;
            self.due.get_or_insert(now + GIVEN_UP_DELAY);
            return;
        };
        for (key, digest) in &entries {
            self.consider(core, now, &run, *key, *digest);
        }
        let rest = run.ranges.pop_front().filter(|_| more).zip(entries.last());
        if let Some(((_, to), (last, _))) = rest
            && let Some(from) = successor(last)
        {
            run.ranges.push_front((from, to));
        }
        self.run = Some(run);
        self.scan(core);
        let ready: Vec<NodeId> = self.offers.keys().copied().collect();
        for id in ready {
            self.offer(core, now, &id);
        }
    }

    /// Who has to be offered this key, if it is this node's part to do so.
    fn consider(
        &mut self,
        core: &mut Core,
        now: Instant,
        run: &Run,
        key: Key,
        digest: StateDigest,
    ) {
        let r = core.replication();
        let old = run.before.replica_set(&key, r);
        let new = run.after.replica_set(&key, r);
        let newcomers = |peer: &&Peer| !old.contains(peer) && peer.id != core.me.id;
        if self.leaving {
            let targets: Vec<Peer> = new.iter().filter(newcomers).copied().collect();
            targets.iter().for_each(|peer| self.enqueue(*peer, key, digest, now));
            return;
        }
        let survivors: Vec<&Peer> =
            old.iter().filter(|peer| run.after.contains(&peer.id)).collect();
        let rank = survivors.iter().position(|peer| peer.id == core.me.id);
        let delay = match rank {
            Some(0) => Duration::ZERO,
            Some(1) => SECOND_OFFER_DELAY,
            // Nobody who should hold it is left, so whoever does hold it offers.
            None if survivors.is_empty() && core.sees_replicas(&key) => Duration::ZERO,
            Some(_) | None => return,
        };
        let lost_offerer = old.iter().take(2).any(|peer| !run.after.contains(&peer.id));
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

    /// Offers what is due to one node, in a datagram or, if it is much, in a call.
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
        // What is due soon goes along: keys change one by one, and each offer costs a round trip.
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
        let way = if by_call { Way::Call } else { Way::Fitting };
        core.ask(
            offers.peer,
            Request::Offer { entries },
            way,
            AskFor::Offer(*id, offers.generation),
        );
    }

    /// A node answered an offer with how much it will pull, or did not answer (`None`).
    pub(crate) fn on_offered(
        &mut self,
        core: &mut Core,
        now: Instant,
        (id, generation): (NodeId, u64),
        wanted: Option<u32>,
    ) {
        let known = core.around.contains(&id);
        let found = self.offers.get_mut(&id).filter(|offers| offers.generation == generation);
        let Some(offers) = found else { return };
        let asked = std::mem::take(&mut offers.in_flight);
        match wanted {
            Some(wanted) => {
                self.promised += u64::from(wanted);
                offers.tries = 0;
                offers.next = now;
                for (key, digest) in &asked {
                    // What has changed meanwhile is offered again.
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
                    // It is still there: treat it as a newcomer again later.
                    self.settled = self.settled.without(&id);
                    self.due.get_or_insert(now + GIVEN_UP_DELAY);
                }
            }
        }
        self.scan(core);
    }
}

/// Ranges without those that lie in another; prefixes either nest or do not touch.
fn merged(ranges: BTreeSet<(Key, Key)>) -> VecDeque<(Key, Key)> {
    let all: Vec<(Key, Key)> = ranges.into_iter().collect();
    all.iter()
        .filter(|inner| {
            !all.iter().any(|outer| outer != *inner && outer.0 <= inner.0 && inner.1 <= outer.1)
        })
        .copied()
        .collect()
}

/// The key behind `key`; `None` behind the last one.
pub(crate) fn successor(key: &Key) -> Option<Key> {
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
    fn the_successor_carries_over_and_ends_at_the_last_key() {
        let mut bytes = [0; 32];
        bytes[31] = 0xff;
        let next = successor(&Key::from_bytes(bytes)).expect("not the last");
        assert_eq!((next.as_bytes()[30], next.as_bytes()[31]), (1, 0));
        assert_eq!(successor(&Key::from_bytes([0xff; 32])), None);
    }
}
