//! The leases of one watch: at which holders, until when, and what each holder has said.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use potluck_base::{Instant, Key, NodeId, Peer, Rng};
use potluck_record::StateDigest;
use potluck_wire::{Changed, Request, Response, WatchRequest, Watching};

use crate::core::{AskPurpose, Core, LeaseId};
use crate::event::Delivery;

/// Digests that are remembered as read. A holder that lags behind by more changes causes a read that finds
/// nothing new.
const KNOWN_MAX: usize = 64;
/// Fraction by which the time of a renewal varies, so that the leases of a node are not renewed at once.
const RENEW_SPREAD: f64 = 0.1;

/// Digests of states that are part of what was read: a holder that claims one has nothing new.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    read: VecDeque<StateDigest>,
    /// Those of them that were reported, in order.
    reported: VecDeque<StateDigest>,
}

fn push(digests: &mut VecDeque<StateDigest>, digest: StateDigest) {
    if digests.len() >= KNOWN_MAX {
        digests.pop_front();
    }
    digests.push_back(digest);
}

impl Known {
    /// Whether a holder of this state has nothing new. One that holds nothing never has.
    pub(super) fn contains(&self, digest: &StateDigest) -> bool {
        *digest == StateDigest::EMPTY || self.read.contains(digest)
    }

    pub(super) fn add(&mut self, digest: StateDigest) {
        if !self.read.contains(&digest) {
            push(&mut self.read, digest);
        }
    }

    pub(super) fn report(&mut self, digest: StateDigest) {
        push(&mut self.reported, digest);
    }

    /// Reports after the one of this state.
    fn reports_after(&self, digest: &StateDigest) -> u64 {
        let place = self.reported.iter().rev().position(|reported| reported == digest);
        place.unwrap_or_default() as u64
    }
}

/// What one holder said of the key.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Word {
    /// A state that it has and that was not read.
    claim: Option<StateDigest>,
    /// Changes since its lease began.
    changes: u64,
    /// Those of them that no later report is about.
    counted: u64,
    /// Reports of states that it has not counted yet.
    ahead: u64,
}

impl Word {
    /// A lease begins.
    fn begin(&mut self, digest: StateDigest, changes: u64, known: &Known) {
        *self = Self { changes, counted: changes, ..Self::default() };
        self.hear(digest, changes, known);
    }

    fn hear(&mut self, digest: StateDigest, changes: u64, known: &Known) {
        if changes < self.changes {
            // It has forgotten the lease, and counts anew.
            (self.counted, self.ahead) = (changes, 0);
        }
        self.changes = changes;
        self.claim = Some(digest);
        self.settle(known);
    }

    /// This node itself holds the key, and its state has changed.
    pub(super) fn hear_own(&mut self, digest: StateDigest, known: &Known) {
        self.hear(digest, self.changes + 1, known);
    }

    /// If the state that it claims was read, the claim is no news.
    pub(super) fn settle(&mut self, known: &Known) {
        if let Some(claim) = self.claim.filter(|claim| known.contains(claim)) {
            self.ahead = known.reports_after(&claim);
            self.resolve();
        }
    }

    const fn resolve(&mut self) {
        self.claim = None;
        self.counted = self.changes;
    }

    /// States between the last report and one of `digest`, as far as it counted.
    pub(super) fn missed(&self, digest: &StateDigest) -> u64 {
        let since = self.changes.saturating_sub(self.counted).saturating_sub(self.ahead);
        since.saturating_sub(u64::from(self.claim == Some(*digest)))
    }

    /// A state was reported.
    pub(super) fn report(&mut self, digest: &StateDigest) {
        let since = self.changes.saturating_sub(self.counted);
        let included = self.claim == Some(*digest);
        self.ahead = if included { 0 } else { self.ahead.saturating_sub(since) + 1 };
        self.counted = self.changes;
    }
}

#[derive(Debug, Clone)]
struct Lease {
    peer: Peer,
    /// `None` until it is confirmed.
    until: Option<Instant>,
    renew_at: Instant,
    asking: bool,
    word: Word,
}

/// The leases of one watch.
#[derive(Debug, Clone)]
pub(super) struct Leases {
    key: Key,
    /// The other nodes of the replica set, as the last lookup found them, closest first.
    nearest: Vec<Peer>,
    /// Nodes that gave no lease since that lookup.
    passed: BTreeSet<NodeId>,
    held: BTreeMap<NodeId, Lease>,
    /// Whether this node itself is a holder.
    own: bool,
    rng: Rng,
}

impl Leases {
    pub(super) const fn new(key: Key, rng: Rng) -> Self {
        Self {
            key,
            nearest: Vec::new(),
            passed: BTreeSet::new(),
            held: BTreeMap::new(),
            own: false,
            rng,
        }
    }

    /// Leases wanted, the one of this node itself included.
    fn wanted(&self, core: &Core) -> usize {
        let most = core.config.watch.leases.min(core.replication());
        most.min(self.nearest.len() + usize::from(self.own))
    }

    pub(super) fn confirmed(&self, now: Instant) -> usize {
        let others = self.held.values().filter(|lease| lease.until.is_some_and(|end| end > now));
        others.count() + usize::from(self.own)
    }

    /// Whether at least half of the leases are confirmed.
    pub(super) fn is_covered(&self, core: &Core, now: Instant) -> bool {
        let confirmed = self.confirmed(now);
        confirmed > 0 && 2 * confirmed >= self.wanted(core)
    }

    /// Takes the replica set that a lookup found, and moves the leases to it.
    pub(super) fn refresh(&mut self, core: &mut Core, now: Instant, found: &[Peer]) {
        self.own = core.sees_replicas(&self.key) && core.is_responsible(&self.key);
        let others = found.iter().filter(|peer| peer.id != core.me.id);
        let most = core.replication() - usize::from(self.own);
        self.nearest = others.take(most).copied().collect();
        self.passed.clear();
        self.place(core, now);
    }

    /// Asks for the leases that are missing, and ends those at nodes that are not closest any more.
    fn place(&mut self, core: &mut Core, now: Instant) {
        let others = self.wanted(core).saturating_sub(usize::from(self.own));
        let willing = self.nearest.iter().filter(|peer| !self.passed.contains(&peer.id));
        let chosen: Vec<Peer> = willing.take(others).copied().collect();
        let surplus = self.held.keys().filter(|id| !chosen.iter().any(|peer| peer.id == **id));
        for id in surplus.copied().collect::<Vec<_>>() {
            self.drop_lease(core, &id);
        }
        for peer in chosen {
            if let Entry::Vacant(place) = self.held.entry(peer.id) {
                let word = Word::default();
                place.insert(Lease { peer, until: None, renew_at: now, asking: true, word });
                self.ask(
                    core,
                    peer,
                    AskPurpose::Lease(LeaseId { key: self.key, peer: peer.id }),
                    core.config.watch.lease,
                );
            }
        }
    }

    fn ask(&self, core: &mut Core, to: Peer, purpose: AskPurpose, time: Duration) {
        let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let request = Request::Watch(WatchRequest::Lease { key: self.key, millis });
        core.ask(to, request, Delivery::Fitting, purpose);
    }

    fn drop_lease(&mut self, core: &mut Core, id: &NodeId) {
        if let Some(lease) = self.held.remove(id) {
            self.ask(core, lease.peer, AskPurpose::LeaseEnd, Duration::ZERO);
        }
    }

    /// Ends all leases.
    pub(super) fn end(&mut self, core: &mut Core) {
        while let Some(id) = self.held.keys().next().copied() {
            self.drop_lease(core, &id);
        }
    }

    /// A node answered the request for a lease; `None`: it did not.
    pub(super) fn on_answer(
        &mut self,
        core: &mut Core,
        now: Instant,
        id: NodeId,
        answer: Option<Response>,
        known: &Known,
    ) {
        let Some(lease) = self.held.get_mut(&id) else { return };
        lease.asking = false;
        match answer {
            Some(Response::Watching(Watching { millis, digest, changes })) if millis > 0 => {
                let time = Duration::from_millis(u64::from(millis)).min(core.config.watch.lease);
                let is_new = lease.until.replace(now + time).is_none();
                // At least a second, however short the lease that the holder grants.
                let half = self.rng.jitter(time / 2, RENEW_SPREAD).max(Duration::from_secs(1));
                lease.renew_at = now + half;
                match is_new {
                    true => lease.word.begin(digest, changes, known),
                    false => lease.word.hear(digest, changes, known),
                }
            }
            Some(_) | None => drop(self.lose(core, now, id)),
        }
    }

    /// A node told of a change. False if it has no lease of this watch.
    pub(super) fn on_changed(
        &mut self,
        core: &mut Core,
        now: Instant,
        from: NodeId,
        changed: &Changed,
        known: &Known,
    ) -> bool {
        let Some(lease) = self.held.get_mut(&from) else { return false };
        lease.word.hear(changed.digest, changed.changes, known);
        if changed.ended {
            self.lose(core, now, from);
        }
        true
    }

    /// A holder is gone or gives no lease: the next closest one is asked. Returns whether the node is one
    /// of the replica set.
    pub(super) fn lose(&mut self, core: &mut Core, now: Instant, id: NodeId) -> bool {
        let had_lease = self.held.remove(&id).is_some();
        let concerned = had_lease || self.nearest.iter().any(|peer| peer.id == id);
        if concerned {
            self.passed.insert(id);
            self.place(core, now);
        }
        concerned
    }

    /// A node came, came back or was started anew. Returns whether it may be one of the closest holders;
    /// a lease that it had is forgotten.
    pub(super) fn on_peer_up(&mut self, core: &Core, peer: &Peer) -> bool {
        self.held.remove(&peer.id).is_some() || self.may_hold(core, peer)
    }

    /// Whether a node without a lease may be one of the closest holders.
    pub(super) fn may_hold(&self, core: &Core, peer: &Peer) -> bool {
        let most = core.config.watch.leases.min(core.replication());
        let last = self.nearest.iter().take(most).next_back();
        let is_near = last.is_none_or(|last| peer.distance(&self.key) <= last.distance(&self.key));
        !self.held.contains_key(&peer.id) && (is_near || self.nearest.len() < most)
    }

    /// Renews the leases that have lasted for half of their time.
    pub(super) fn renew(&mut self, core: &mut Core, now: Instant) {
        let mut due = Vec::new();
        for lease in self.held.values_mut() {
            if !lease.asking && lease.renew_at <= now {
                lease.asking = true;
                due.push(lease.peer);
            }
        }
        for peer in due {
            self.ask(
                core,
                peer,
                AskPurpose::Lease(LeaseId { key: self.key, peer: peer.id }),
                core.config.watch.lease,
            );
        }
    }

    /// When a lease is to be renewed, or runs out.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let renewal = |lease: &Lease| (!lease.asking).then_some(lease.renew_at);
        let end = |lease: &Lease| lease.until.filter(|until| *until > now);
        self.held.values().flat_map(|lease| [renewal(lease), end(lease)]).flatten().min()
    }

    /// Whether a holder claims a state that was not read.
    pub(super) fn has_news(&self) -> bool {
        self.held.values().any(|lease| lease.word.claim.is_some())
    }

    /// Takes note of what was read. After a read of `all` replicas no claim is left: what was not found
    /// cannot be read now.
    pub(super) fn settle(&mut self, known: &Known, all: bool) {
        for lease in self.held.values_mut() {
            lease.word.settle(known);
            if all {
                lease.word.resolve();
            }
        }
    }

    /// States between the last report and one of `digest`, as far as the holders counted.
    pub(super) fn missed(&self, digest: &StateDigest) -> u64 {
        self.held.values().map(|lease| lease.word.missed(digest)).max().unwrap_or_default()
    }

    /// A state was reported.
    pub(super) fn report(&mut self, digest: &StateDigest) {
        self.held.values_mut().for_each(|lease| lease.word.report(digest));
    }
}
