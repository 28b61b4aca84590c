//! Contacts: when they enter the table, are checked and are dropped.

use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{Contact, Diversity, Instant, Key, NodeId, Peer, spread_out};

use super::{Dht, FAILURES_MAX, Joining, Output, SAVED_MAX};
use crate::entry_points::EntryPoint;
use crate::lookup::LookupId;
use crate::probes::{Probe, Reason};
use crate::routing_table::CloseGroupChange;
use crate::validate::Near;

/// Delay before a silent contact is checked again, when no other node was heard either.
const RECHECK_DELAY: Duration = Duration::from_millis(500);
/// The longest pause between refreshes, in refresh intervals: ten minutes by default. Kademlia
/// refreshes a bucket after an hour without a lookup.
pub(super) const QUIET_FACTOR: u32 = 10;
/// The longest check interval of a contact, in intervals of a new contact. Raising it saves pings to
/// long-lived contacts and notices their failure later.
const OLD_FACTOR: u32 = 5;
/// Other contacts that are pinged to tell whether one contact or all are silent.
const WITNESSES: usize = 3;

impl Dht {
    /// A request to `id` got no answer: leaves it out of answers and lookups, and checks it at once.
    pub(super) fn suspect(&mut self, now: Instant, id: &NodeId) {
        if let Some(entry) = self.table.entry_mut(id) {
            entry.failures = entry.failures.max(1);
            // A millisecond later, because a timer may have called this, and its next deadline must be
            // later than the current one.
            self.table.check_at(id, now + Duration::from_millis(1));
        }
    }

    /// A heartbeat or check with all its tries got no answer.
    pub(super) fn on_silence(&mut self, now: Instant, probe: &Probe) {
        // If no node was heard since the check began, this node is cut off.
        let cut_off = self.last_heard <= probe.sent;
        let Some(entry) = self.table.entry_mut(&probe.peer.id) else { return };
        if entry.last_heard > probe.sent {
            return;
        }
        entry.failures = entry.failures.saturating_add(1);
        let patient = cut_off && entry.failures < FAILURES_MAX;
        self.table.check_at(&probe.peer.id, now + RECHECK_DELAY);
        if patient {
            self.ask_around(now, &probe.peer.id);
            return;
        }
        self.stats.contacts_dropped += 1;
        self.drop_contact(now, &probe.peer.id);
    }

    /// Checks [`WITNESSES`] other contacts, to learn whether one node is silent or all are.
    fn ask_around(&mut self, now: Instant, silent: &NodeId) {
        let others: Vec<NodeId> = self
            .table
            .entries()
            .filter(|entry| entry.failures == 0 && entry.peer.id != *silent)
            .map(|entry| entry.peer.id)
            .take(WITNESSES)
            .collect();
        for id in others {
            if let Some(entry) = self.table.entry(&id) {
                let at = entry.check_at().min(now + Duration::from_millis(1));
                self.table.check_at(&id, at);
            }
        }
    }

    pub(super) fn drop_contact(&mut self, now: Instant, id: &NodeId) {
        let (change, candidate) = self.table.remove(id);
        for lookup in self.lookups.ids() {
            if let Some(running) = self.lookups.get_mut(lookup) {
                running.lookup.on_failure(now, id);
            }
            self.drive_lookup(now, lookup);
        }
        self.unsaved = true;
        self.announce(now, change);
        if let Some(candidate) = candidate {
            self.probes.enqueue(candidate);
            self.prove_waiting(now);
        }
        if self.table.is_empty() {
            self.joining = Joining::Alone;
        }
    }

    /// The close group changed: the next refresh is at most one interval away.
    pub(super) fn refresh_soon(&mut self, now: Instant) {
        self.refresh_pause = self.config.refresh_interval / 2;
        let latest = now + self.config.refresh_interval;
        if self.refresh_at > latest {
            self.refresh_at = now + self.rng.jitter(self.config.refresh_interval, 0.25);
        }
    }

    pub(super) fn announce(&mut self, now: Instant, change: CloseGroupChange) {
        if !change.is_empty() {
            // In a large network the farther members of the close group change all the time, and a
            // lookup of the node's own id finds the k nearest only.
            let mut changed = change.joined.iter().chain(&change.left);
            if changed.any(|peer| self.table.is_nearest(&peer.id)) {
                self.refresh_soon(now);
            }
            self.outbox.push_back(Output::CloseGroup(change));
        }
    }

    /// Takes these contacts in as if each of them had answered: the state after a join, for simulations
    /// that are not about joining.
    pub fn acquaint(&mut self, now: Instant, contacts: &[Contact]) {
        let Some((last, others)) = contacts.split_last() else { return };
        for contact in others {
            let peer = contact.in_network(&self.network);
            if peer.id != self.me.id && self.is_acceptable(contact) {
                let change = self.table.admit(now, peer, None);
                self.schedule_check(now, &peer.id);
                self.announce(now, change);
            }
        }
        // The last one begins the join, which finds the others in the table.
        self.admit(now, last.in_network(&self.network), None);
    }

    /// A contact has answered this node.
    pub(super) fn admit(&mut self, now: Instant, peer: Peer, rtt: Option<Duration>) {
        self.last_heard = now;
        self.named.on_answer(peer.contact.address);
        if peer.id == self.me.id || !self.is_acceptable(&peer.contact) {
            return;
        }
        let was_known = self.table.entry(&peer.id).is_some();
        if !was_known && !self.is_valid_newcomer(now, &peer) {
            return;
        }
        let change = self.table.admit(now, peer, rtt);
        self.schedule_check(now, &peer.id);
        self.announce(now, change);
        if was_known {
            return;
        }
        self.entries.answered(&peer.contact.public_key);
        self.unsaved = true;
        if self.joining == Joining::Alone && !self.table.is_empty() {
            let target = self.me.id.into();
            // The id is set first, because a lookup without any node to ask ends at once.
            self.joining = Joining::Looking(LookupId::table(self.next_own_lookup + 1));
            self.own_lookup(now, target, "join");
        }
    }

    /// Whether a node that is not in the table may get a place: at a plausible distance, and in a subnet that
    /// has room. Where neither counts, admission or trust limits who comes.
    fn is_valid_newcomer(&mut self, now: Instant, peer: &Peer) -> bool {
        if self.config.diversity == Diversity::Free {
            return true;
        }
        if !self.table.has_room_in_subnet(peer) {
            self.stats.updates_refused_subnet += 1;
            return false;
        }
        if !self.table.has_full_close_group() {
            return true;
        }
        let shared = self.me.id.distance(&Key::from(peer.id)).leading_zeros();
        let crowds = self.table.crowds(shared);
        let nodes = self.table.careful_size_estimate();
        let near = Near { shared, crowds, nodes };
        let plausible = self.validator.is_plausible_distance(now, &peer.id, &near);
        self.stats.updates_refused_distance += u64::from(!plausible);
        plausible
    }

    pub(super) fn schedule_check(&mut self, now: Instant, id: &NodeId) {
        let interval = if self.table.is_in_close_group(id) && !self.watched {
            self.config.heartbeat_interval
        } else {
            // A long-lived contact is likely to live on (Kademlia section 2.2).
            let age = self.table.entry(id).map_or(Duration::ZERO, |entry| now.since(entry.since));
            let shortest = self.config.contact_check_interval;
            age.clamp(shortest, shortest * OLD_FACTOR)
        };
        let pause = self.rng.jitter(interval, 0.25);
        self.table.check_at(id, now + pause);
    }

    /// Authenticated traffic from `contact`: counts as a heartbeat if the contact is known. A new
    /// contact must answer a ping before it gets a place.
    pub(super) fn on_heard(&mut self, now: Instant, contact: Contact) {
        self.last_heard = now;
        let peer = contact.in_network(&self.network);
        if peer.id == self.me.id || !self.is_acceptable(&contact) {
            return;
        }
        let known = self.table.entry(&peer.id).map(|entry| entry.peer.contact == contact);
        match known {
            Some(true) => {
                if let Some(entry) = self.table.entry_mut(&peer.id) {
                    entry.last_heard = now;
                    entry.failures = 0;
                }
                self.schedule_check(now, &peer.id);
            }
            // Known at another address: it may have moved, and is pinged like a new contact.
            Some(false) => self.probes.enqueue(peer),
            None if self.table.would_admit(&peer.id) && self.is_valid_newcomer(now, &peer) => {
                self.probes.enqueue(peer);
            }
            None => {}
        }
        self.prove_waiting(now);
    }

    /// After the machine slept, silence says nothing about other nodes. Checks all contacts, spread
    /// over one heartbeat interval.
    pub(super) fn on_resumed(&mut self, now: Instant) {
        self.last_heard = now;
        let ids: Vec<NodeId> = self.table.entries().map(|entry| entry.peer.id).collect();
        for id in ids {
            let pause = self.config.heartbeat_interval.mul_f64(self.rng.fraction());
            self.table.check_at(&id, now + pause);
        }
    }

    pub(super) fn prove_waiting(&mut self, now: Instant) {
        while let Some(peer) = self.probes.next_proof() {
            self.ping(now, peer, Reason::Proof);
        }
    }

    pub(super) fn enter(&mut self, now: Instant, contact: Contact) {
        if contact.public_key == self.me.contact.public_key {
            self.entries.drop_self(&contact.public_key, Some(contact.address));
            return;
        }
        let peer = contact.in_network(&self.network);
        let known = self.table.entry(&peer.id).is_some_and(|entry| entry.peer == peer);
        if !known && !self.probes.is_active(&peer.id) {
            self.ping(now, peer, Reason::Entry);
        }
    }

    pub(super) fn greet(&mut self, addresses: Vec<SocketAddr>) {
        let me = self.me.contact.address;
        let others = addresses.into_iter().filter(|address| *address != me);
        self.outbox.extend(others.map(Output::Hello));
    }

    pub(super) fn on_timeout(&mut self, now: Instant) {
        let due = self.entries.due(now, &self.network, &self.table);
        if due.last_resort {
            self.outbox.push_back(Output::LastResort);
        }
        self.greet(due.greetings);
        for point in due.points {
            match point {
                EntryPoint::Contact(contact) => self.enter(now, contact),
                EntryPoint::Address(address) => self.outbox.push_back(Output::Hello(address)),
                EntryPoint::Name(name) => self.outbox.push_back(Output::Resolve(name)),
            }
        }
        // Contacts that are due soon are checked together with those due now, to wake up less often.
        let any_due = self.table.next_check().is_some_and(|at| at <= now);
        let soon = now + self.config.heartbeat_interval / 5;
        let due: Vec<Peer> = self
            .table
            .entries()
            .filter(|entry| any_due && entry.check_at() <= soon)
            .map(|entry| entry.peer)
            .collect();
        for peer in due {
            // The check ends with an answer or a failure; both set the next one.
            self.table.check_at(&peer.id, now + self.config.contact_check_interval);
            if !self.probes.is_active(&peer.id) {
                self.ping(now, peer, Reason::Check);
            }
        }
        for id in self.lookups.due(now) {
            self.drive_lookup(now, id);
        }
        if now >= self.refresh_at {
            self.refresh(now);
        }
        if now >= self.save_at {
            self.save_at = now + self.config.save_interval;
            if std::mem::take(&mut self.unsaved) {
                let all = self.table.closest_responsive(&self.me.id.into(), usize::MAX);
                let all = all.iter().map(|peer| peer.contact).collect();
                let contacts = spread_out(all, SAVED_MAX, |contact| contact.address);
                self.outbox.push_back(Output::Save(contacts));
            }
        }
    }

    /// Looks up the node's own id and one bucket in turn (Kademlia section 2.3, spread out).
    ///
    /// While the close group does not change, each pause is twice the last one, and after the first
    /// such pause only one of the two is looked up.
    pub(super) fn refresh(&mut self, now: Instant) {
        let quiet = self.refresh_pause >= self.config.refresh_interval;
        self.refresh_self = !(quiet && self.refresh_self);
        let longest = self.config.refresh_interval * QUIET_FACTOR;
        self.refresh_pause = (self.refresh_pause * 2).min(longest);
        self.refresh_at = now + self.rng.jitter(self.refresh_pause, 0.25);
        if self.table.is_empty() {
            return;
        }
        let me = Key::from(self.me.id);
        if self.refresh_self {
            self.own_lookup(now, me, "refresh self");
            if quiet {
                return;
            }
        }
        let depth = self.table.depth();
        self.refresh_bucket = if self.refresh_bucket > depth { 0 } else { self.refresh_bucket };
        let random = Key::from_bytes(self.rng.bytes());
        let bit = u32::from(self.refresh_bucket);
        // A random point that shares exactly `bit` leading bits with this node.
        let prefix = me.flip(bit).prefix_bound(bit + 1, false);
        let mask = Key::from_bytes([0; 32]).prefix_bound(bit + 1, true);
        let target = Key::from_bytes(std::array::from_fn(|index| {
            prefix.as_bytes()[index] | (random.as_bytes()[index] & mask.as_bytes()[index])
        }));
        self.refresh_bucket = self.refresh_bucket.wrapping_add(1);
        self.own_lookup(now, target, "refresh bucket");
    }
}
