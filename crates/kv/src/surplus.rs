//! Copies that a node holds beyond its duty: of keys that it is not among the r closest to, because others
//! came, or because a write went to it while a closer node was away.
//!
//! Such a copy stays for a day, in case the others go again. Then it goes, once every node of the replica
//! set has shown that it holds the same state; a node of the set that does not is offered it. So the last
//! copy of a record is never dropped by a node that merely thinks others have it.
//!
//! Only keys whose replica sets the close group shows are looked at. A copy far away from this node, held
//! since the network was smaller, stays until it expires.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use potluck_base::{Deadline, Instant, Key, NodeId, Peer};
use potluck_record::{Prefix, SessionKey, StateDigest, StorageOp, StorageReply};
use potluck_wire::{Compare, Compared, Level, RangePart, Request};

use crate::core::{AskPurpose, Core, OpPurpose};
use crate::difference::region;
use crate::event::Delivery;
use crate::repair::Repair;

/// Ranges beside this node's own that are looked at.
const RANGES_MAX: usize = 96;
/// Keys of one round. Raising it makes room sooner and costs traffic: 20 bytes a key and replica.
const ROUND_KEYS: u32 = 256;
/// Time between the end of one pass over all surplus copies and the next pass.
const PASS: Duration = Duration::from_secs(3600);
/// Time that the nodes of the replica sets have to answer. After it the round counts without the others.
const ROUND_TIME: Duration = Duration::from_secs(60);

/// A question to a node of the replica sets of surplus copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SurplusAsk {
    from: NodeId,
    /// The round that it belongs to.
    round: u64,
}

/// A key of a round, and the nodes that have not shown its state yet.
#[derive(Debug, Clone)]
struct Copy {
    digest: StateDigest,
    /// Whether it has been surplus for long enough.
    ripe: bool,
    open: BTreeSet<NodeId>,
}

/// A round under way.
#[derive(Debug, Clone)]
struct Round {
    number: u64,
    session: SessionKey,
    copies: BTreeMap<Key, Copy>,
    /// The keys that each node was asked for, in the order of the question.
    asked: BTreeMap<NodeId, (Peer, Vec<Key>)>,
    until: Instant,
}

/// The surplus copies of one node.
#[derive(Debug, Clone)]
pub(crate) struct Surplus {
    /// The ranges beside, and since when each of them is.
    since: BTreeMap<Prefix, Instant>,
    next: Instant,
    after: Option<Key>,
    reading: bool,
    round: Option<Round>,
}

impl Surplus {
    pub(crate) fn new(core: &Core) -> Self {
        let next = Instant::ZERO + core.config.anti_entropy_interval;
        Self { since: BTreeMap::new(), next, after: None, reading: false, round: None }
    }

    pub(crate) fn deadline(&self, core: &Core) -> Option<Deadline> {
        let at = self.round.as_ref().map_or(self.next, |round| round.until);
        (core.serves && !self.reading).then(|| Deadline::new(at, "surplus"))
    }

    /// Begins the next round, or ends one that takes too long.
    pub(crate) fn on_timeout(&mut self, core: &mut Core, now: Instant, repair: &Repair) {
        if self.round.as_ref().is_some_and(|round| round.until <= now) {
            self.round = None;
        }
        if !core.serves || self.reading || self.round.is_some() || self.next > now {
            return;
        }
        self.next = now + core.config.anti_entropy_interval;
        if repair.is_repairing() || repair.is_crowded() {
            return;
        }
        self.renew_ranges(core, now);
        if self.since.is_empty() {
            (self.after, self.next) = (None, now + PASS);
            return;
        }
        self.reading = true;
        let prefixes = self.since.keys().copied().collect();
        let op = StorageOp::Entries { prefixes, after: self.after, limit: ROUND_KEYS };
        core.storage(op, OpPurpose::SurplusPage);
    }

    /// Finds the ranges beside anew. One that was beside as a whole before keeps its time.
    fn renew_ranges(&mut self, core: &Core, now: Instant) {
        let before = std::mem::take(&mut self.since);
        for range in region::beside(core, RANGES_MAX) {
            self.since.insert(range, since(&before, range).unwrap_or(now));
        }
    }

    /// Takes the keys of a round, and asks the nodes of their replica sets.
    pub(crate) fn on_page(
        &mut self,
        core: &mut Core,
        now: Instant,
        session: SessionKey,
        reply: &StorageReply,
    ) {
        self.reading = false;
        let StorageReply::Scanned { entries, more } = reply else { return };
        let last = entries.last().filter(|_| *more);
        self.after = last.map(|(key, _)| *key);
        if self.after.is_none() {
            self.next = now + PASS;
        }
        let number = core.fresh_id();
        let until = now + ROUND_TIME;
        let (copies, asked) = (BTreeMap::new(), BTreeMap::new());
        let mut round = Round { number, session, copies, asked, until };
        for (key, digest) in entries {
            if core.is_responsible(key) || !core.sees_replicas(key) {
                continue;
            }
            let age = self.since.iter().find(|(range, _)| range.contains(key));
            let ripe = age.is_some_and(|(_, since)| now.since(*since) >= core.config.surplus_after);
            let set = core.replica_set(key);
            let open = set.iter().map(|peer| peer.id).collect();
            round.copies.insert(*key, Copy { digest: *digest, ripe, open });
            for peer in set {
                round.asked.entry(peer.id).or_insert((peer, Vec::new())).1.push(*key);
            }
        }
        for (peer, keys) in round.asked.values() {
            let prefixes = keys.iter().map(|key| Prefix::of(key, Prefix::LENGTH_MAX)).collect();
            let ids = Vec::new();
            let compare = Compare { session, level: Level::Ids, prefixes, ids, bucket: None };
            let purpose = AskPurpose::Surplus(SurplusAsk { from: peer.id, round: number });
            core.ask(*peer, Request::Fingerprints(compare), Delivery::Fitting, purpose);
        }
        self.round = Some(round).filter(|round| !round.asked.is_empty());
    }

    /// Takes the answer of a node of the round of this number: offers it what it lacks, and drops the
    /// copies that all have.
    pub(crate) fn on_answer(
        &mut self,
        core: &mut Core,
        now: Instant,
        asked: SurplusAsk,
        compared: Option<Compared>,
        repair: &mut Repair,
    ) {
        let SurplusAsk { from, round: number } = asked;
        let Some(round) = self.round.as_mut().filter(|round| round.number == number) else {
            return;
        };
        let Some((peer, keys)) = round.asked.remove(&from) else { return };
        let parts = compared.map(|compared| compared.parts).unwrap_or_default();
        for (key, part) in keys.iter().zip(parts) {
            let Some(copy) = round.copies.get_mut(key) else { continue };
            let id = round.session.entry(key, &copy.digest);
            if matches!(&part, RangePart::Ids(ids) if ids.contains(&id)) {
                copy.open.remove(&from);
            } else if !repair.is_crowded() {
                repair.offer_found(peer, *key, copy.digest, now);
            }
            if copy.ripe && copy.open.is_empty() {
                let op = StorageOp::Drop { key: *key, digest: copy.digest };
                core.storage(op, OpPurpose::SurplusDropped);
                round.copies.remove(key);
            }
        }
        if round.asked.is_empty() {
            self.round = None;
        }
    }
}

/// Since when all of `range` is beside; `None` if some of it was not.
fn since(before: &BTreeMap<Prefix, Instant>, range: Prefix) -> Option<Instant> {
    let within = |outer: Prefix, inner: Prefix| {
        outer.first_bits() <= inner.first_bits() && inner.last_bits() <= outer.last_bits()
    };
    if let Some((_, at)) = before.iter().find(|(outer, _)| within(**outer, range)) {
        return Some(*at);
    }
    let parts = before.iter().filter(|(inner, _)| within(range, **inner));
    let (mut width, mut latest) = (0u128, None);
    for (inner, at) in parts {
        width += u128::from(inner.last_bits() - inner.first_bits()) + 1;
        latest = latest.max(Some(*at));
    }
    let whole = u128::from(range.last_bits() - range.first_bits()) + 1;
    latest.filter(|_| width == whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_keeps_its_time_if_all_of_it_was_beside_and_takes_the_latest_of_its_parts() {
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let upper = Prefix::ALL.half(true);
        let (left, right) = (upper.half(false), upper.half(true));
        let before = BTreeMap::from([(left, at(5)), (right, at(9))]);
        assert_eq!(since(&before, left.half(true)), Some(at(5)));
        assert_eq!(since(&before, upper), Some(at(9)));
        assert_eq!(since(&before, Prefix::ALL), None);
        assert_eq!(since(&BTreeMap::from([(left, at(5))]), upper), None);
        assert_eq!(since(&BTreeMap::new(), upper), None);
    }
}
