//! The holder's side of watches: leases of other nodes on keys that are kept here, and the
//! notifications that they get.
//!
//! At most one notification of a lease is under way; changes in the meantime are counted and told
//! with the next one. A watcher that does not answer three times, each with the repetitions of the
//! link, loses its lease.
//!
//! **Invariants:** leases are bounded in all and for each peer; only a peer at a proven address has one;
//! a notification goes to the peer that asked for the lease and carries no value.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use potluck_base::{Deadline, Instant, Key, NodeId, Peer};
use potluck_record::{StateDigest, StorageOp, StorageReply};
use potluck_wire::{Changed, Refusal, Request, Response, WatchRequest, Watching};

use crate::core::{AskPurpose, Core, LeaseId, OpPurpose};
use crate::event::{Delivery, ServeId};

/// Failed notifications after which a lease is dropped. Each was sent three times by the link.
const FAILURES_MAX: u8 = 3;
/// Pause after the first failed notification; it doubles with each. A guess.
const RETRY: Duration = Duration::from_secs(2);
/// Keys whose responsibility is looked at in one go after a change of the close group. Raising it takes
/// longer at once.
const REVIEW_KEYS: usize = 256;
/// Pause between two such goes.
const REVIEW_PAUSE: Duration = Duration::from_millis(50);

/// One lease.
#[derive(Debug, Clone)]
struct Lease {
    peer: Peer,
    until: Instant,
    /// The digest of the key's state after the last change.
    digest: StateDigest,
    changes: u64,
    /// Value of `changes` in the last notification or answer.
    told: u64,
    /// Whether a notification is under way.
    telling: bool,
    /// No notification is sent before.
    quiet_until: Instant,
    /// When the next notification is due, if one is.
    due: Option<Instant>,
    failures: u8,
}

/// A lease that waits for the digest of the key's state.
#[derive(Debug, Clone, Copy)]
struct Asked {
    key: Key,
    by: NodeId,
    millis: u32,
}

/// A request for a lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeaseAsk {
    pub(crate) serve: ServeId,
    pub(crate) from: Peer,
    pub(crate) key: Key,
    /// 0 ends it.
    pub(crate) millis: u32,
}

/// All leases granted by this node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holder {
    leases: BTreeMap<(Key, NodeId), Lease>,
    of_peer: BTreeMap<NodeId, usize>,
    due: BTreeSet<(Instant, Key, NodeId)>,
    asked: BTreeMap<ServeId, Asked>,
    /// The next look for leases on keys that this node keeps no more, and the key it begins behind.
    review: Option<(Instant, Option<Key>)>,
}

impl Holder {
    pub(crate) fn len(&self) -> usize {
        self.leases.len()
    }

    /// Answers a request for a lease.
    pub(crate) fn on_lease(&mut self, core: &mut Core, now: Instant, asked: LeaseAsk) {
        let LeaseAsk { serve, from, key, millis } = asked;
        if millis == 0 {
            self.remove(&key, &from.id);
            return core.respond(serve, Response::Watching(Watching::default()));
        }
        if let Err(reason) = self.grant(core, now, from, key, millis) {
            return core.respond(serve, Response::refused(reason));
        }
        self.asked.insert(serve, Asked { key, by: from.id, millis });
        let op = StorageOp::Scan { from: key, to: key, limit: 1 };
        core.storage(op, OpPurpose::LeaseScan(serve));
    }

    fn grant(
        &mut self,
        core: &mut Core,
        now: Instant,
        peer: Peer,
        key: Key,
        millis: u32,
    ) -> Result<(), Refusal> {
        if !core.sees_replicas(&key) || !core.is_responsible(&key) {
            return Err(Refusal::NotResponsible);
        }
        let config = &core.config.watch;
        let until = now + Duration::from_millis(u64::from(millis)).min(config.lease);
        if let Some(lease) = self.leases.get_mut(&(key, peer.id)) {
            // What it was asked for from a new address goes there.
            (lease.peer, lease.until) = (peer, until);
            return Ok(());
        }
        let of_peer = |it: &Self| it.of_peer.get(&peer.id).copied().unwrap_or_default();
        let is_full = |it: &Self| it.leases.len() >= config.granted_max;
        if of_peer(self) >= config.granted_to_peer_max || is_full(self) {
            self.sweep(now);
        }
        if of_peer(self) >= config.granted_to_peer_max {
            return Err(Refusal::Quota);
        }
        if is_full(self) {
            return Err(Refusal::Full);
        }
        let lease = Lease {
            peer,
            until,
            digest: StateDigest::EMPTY,
            changes: 0,
            told: 0,
            telling: false,
            quiet_until: now,
            due: None,
            failures: 0,
        };
        self.leases.insert((key, peer.id), lease);
        *self.of_peer.entry(peer.id).or_default() += 1;
        Ok(())
    }

    /// The digest of the key of a lease is known: answers its request.
    pub(crate) fn on_scanned(&mut self, core: &mut Core, serve: ServeId, reply: &StorageReply) {
        let Some(Asked { key, by, millis }) = self.asked.remove(&serve) else { return };
        let StorageReply::Scanned { entries, .. } = reply else {
            self.remove(&key, &by);
            return core.respond(serve, Response::refused(Refusal::Stopped));
        };
        let held = entries.iter().find(|(found, _)| *found == key);
        let digest = held.map_or(StateDigest::EMPTY, |(_, digest)| *digest);
        let changes = self.leases.get(&(key, by)).map(|lease| lease.changes);
        let longest = u32::try_from(core.config.watch.lease.as_millis()).unwrap_or(u32::MAX);
        // Without a lease, it was ended in the meantime.
        let millis = if changes.is_some() { millis.min(longest) } else { 0 };
        let watching = Watching { millis, digest, changes: changes.unwrap_or_default() };
        core.respond(serve, Response::Watching(watching));
    }

    /// The state of a key that is kept here has changed.
    pub(crate) fn on_changed(
        &mut self,
        core: &mut Core,
        now: Instant,
        key: Key,
        digest: StateDigest,
    ) {
        for id in self.watchers_of(&key) {
            let Some(lease) = self.leases.get_mut(&(key, id)) else { continue };
            lease.changes += 1;
            lease.digest = digest;
            self.arrange(core, now, key, id);
        }
    }

    fn watchers_of(&self, key: &Key) -> Vec<NodeId> {
        let all = (*key, NodeId::from_bytes([0; 32]))..=(*key, NodeId::from_bytes([0xff; 32]));
        self.leases.range(all).map(|((_, id), _)| *id).collect()
    }

    /// Sends what a lease has to tell, now or as soon as it may.
    fn arrange(&mut self, core: &mut Core, now: Instant, key: Key, id: NodeId) {
        let Some(lease) = self.leases.get_mut(&(key, id)) else { return };
        if lease.until <= now {
            return self.remove(&key, &id);
        }
        if lease.telling || lease.changes == lease.told {
            return;
        }
        if lease.quiet_until > now {
            let at = lease.quiet_until;
            return self.plan(key, id, at);
        }
        lease.telling = true;
        lease.told = lease.changes;
        lease.quiet_until = now + core.config.watch.pause;
        let (digest, changes) = (lease.digest, lease.changes);
        let changed = Changed { key, digest, changes, ended: false };
        core.stats.watch_notifications += 1;
        let request = Request::Watch(WatchRequest::Changed(changed));
        core.ask(
            lease.peer,
            request,
            Delivery::Fitting,
            AskPurpose::Notify(LeaseId { key, peer: id }),
        );
    }

    fn plan(&mut self, key: Key, id: NodeId, at: Instant) {
        let Some(lease) = self.leases.get_mut(&(key, id)) else { return };
        if let Some(before) = lease.due.replace(at) {
            self.due.remove(&(before, key, id));
        }
        self.due.insert((at, key, id));
    }

    /// A watcher answered a notification; `None`: it did not.
    pub(crate) fn on_told(
        &mut self,
        core: &mut Core,
        now: Instant,
        lease: LeaseId,
        answer: Option<&Response>,
    ) {
        let LeaseId { key, peer: id } = lease;
        let Some(lease) = self.leases.get_mut(&(key, id)) else { return };
        lease.telling = false;
        if answer == Some(&Response::Taken) {
            lease.failures = 0;
            return self.arrange(core, now, key, id);
        }
        lease.failures += 1;
        let unwanted = answer.and_then(Response::refusal) == Some(Refusal::NotHeld);
        if unwanted || lease.failures >= FAILURES_MAX {
            core.stats.watch_leases_dropped += u64::from(!unwanted);
            return self.remove(&key, &id);
        }
        // The change is told again, with those that came in the meantime.
        lease.told = lease.told.saturating_sub(1);
        lease.quiet_until = now + RETRY * (1 << lease.failures.min(4)) / 2;
        let at = lease.quiet_until;
        self.plan(key, id, at);
    }

    fn remove(&mut self, key: &Key, id: &NodeId) {
        let Some(lease) = self.leases.remove(&(*key, *id)) else { return };
        if let Some(at) = lease.due {
            self.due.remove(&(at, *key, *id));
        }
        if let Some(count) = self.of_peer.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                self.of_peer.remove(id);
            }
        }
    }

    /// Drops the leases whose time is over.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let over = self.leases.iter().filter(|(_, lease)| lease.until <= now);
        let over: Vec<(Key, NodeId)> = over.map(|(place, _)| *place).collect();
        for (key, id) in over {
            self.remove(&key, &id);
        }
    }

    /// Ends the leases on a key, and says so to their watchers.
    fn end(&mut self, core: &mut Core, key: Key) {
        for id in self.watchers_of(&key) {
            let Some(lease) = self.leases.get(&(key, id)) else { continue };
            let (digest, changes) = (lease.digest, lease.changes);
            let changed = Changed { key, digest, changes, ended: true };
            let request = Request::Watch(WatchRequest::Changed(changed));
            core.ask(lease.peer, request, Delivery::Fitting, AskPurpose::LeaseEnd);
            self.remove(&key, &id);
        }
    }

    /// The close group changed: leases on keys that this node keeps no more are ended soon.
    pub(crate) fn on_close_group(&mut self, core: &Core, now: Instant) {
        if !self.leases.is_empty() {
            self.review.get_or_insert((now + core.config.repair_delay, None)).1 = None;
        }
    }

    /// This node leaves: its watchers go to other holders at once.
    pub(crate) fn leave(&mut self, core: &mut Core) {
        while let Some((key, _)) = self.leases.keys().next().copied() {
            self.end(core, key);
        }
    }

    pub(crate) fn on_timeout(&mut self, core: &mut Core, now: Instant) {
        while let Some((at, key, id)) = self.due.first().copied()
            && at <= now
        {
            self.due.remove(&(at, key, id));
            if let Some(lease) = self.leases.get_mut(&(key, id)) {
                lease.due = None;
            }
            self.arrange(core, now, key, id);
        }
        if let Some((at, behind)) = self.review
            && at <= now
        {
            self.review = self.look(core, behind).map(|key| (now + REVIEW_PAUSE, Some(key)));
        }
    }

    /// Looks at the next keys; returns the last one if there are more.
    fn look(&mut self, core: &mut Core, behind: Option<Key>) -> Option<Key> {
        let mut last = behind;
        for _ in 0..REVIEW_KEYS {
            let from = last
                .map_or((Key::from_bytes([0; 32]), NodeId::from_bytes([0; 32])), |key| {
                    (key, NodeId::from_bytes([0xff; 32]))
                });
            let next = self.leases.range(from..).find(|((key, _), _)| Some(*key) != last);
            let key = next.map(|((key, _), _)| *key)?;
            if !core.sees_replicas(&key) || !core.is_responsible(&key) {
                self.end(core, key);
            }
            last = Some(key);
        }
        last
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let due = self.due.first().map(|(at, ..)| *at);
        let review = self.review.map(|(at, _)| at);
        due.into_iter().chain(review).min().map(|at| Deadline::new(at, "watch notification"))
    }
}
