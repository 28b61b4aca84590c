//! Records: this node's own record, those of others, and the broadcast queue.
//!
//! A record is news only if its version is newer than the known one. A node announces news that it got from a
//! single node; news that arrived over the broadcast tree is known to all members. An own record is renewed
//! only when something changed or this node is suspected, so the lists of an idle network are equal and
//! comparing them is cheap.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Instant, PublicKey, is_dialable};
use potluck_wire::{Announcement, MemberRecord, MemberRequest, RecordVersion, SuspectMessage};

use super::Members;
use super::event::Output;
use super::outbox::{AskOptions, Purpose};
use super::own_record::ways_of;
use super::rates::BAD_RECORD;
use super::table::{LocalState, Member, short_id};
use crate::view::{Change, MemberEvent, MemberView, Mode};

/// Announcements sent at once; the rest waits for the next one.
const ANNOUNCEMENTS: usize = 4;
/// Revocations sent to a new neighbour, in a call if they are many.
const REVOCATIONS_PER_NEIGHBOUR: usize = 1024;
/// Pause before the record of a stranger is requested again.
const REQUEST_PAUSE: Duration = Duration::from_secs(60);
/// Pause before the newest record of a known member is requested again. A member that restarts
/// twice in a minute has a new record each time.
const NEWER_REQUEST_PAUSE: Duration = Duration::from_millis(500);
/// Delay before news from a single node is announced to all: by then its subject or another member
/// mostly has announced it.
const RELAY_DELAY: Duration = Duration::from_secs(2);
/// Further random delay, up to this for each member, so that of many members with the same news one
/// announces it.
const RELAY_DELAY_PER_MEMBER: Duration = Duration::from_millis(20);

/// A member as the application sees it.
pub(super) fn view_of(member: &Member) -> MemberView {
    let record = MemberRecord::read(&member.record).ok();
    MemberView {
        peer: member.peer,
        state: member.state.shown(),
        incarnation: member.version.incarnation,
        labels: record.as_ref().map(|record| record.labels.clone()).unwrap_or_default(),
        software: record.map(|record| record.software),
    }
}

impl Members {
    /// This node's own record, signed.
    #[must_use]
    pub fn own_record(&self) -> Bytes {
        self.own.signed.clone()
    }

    /// Adds the records of other members, all of which have this node's record already. This is the state
    /// after a join, for simulations that do not simulate joining.
    pub fn acquaint(&mut self, now: Instant, records: &[Bytes]) {
        for record in records {
            self.take_record(now, record, false);
        }
        self.own.known = true;
    }

    /// Sends the announcements that are due.
    pub(super) fn announce_due(&mut self, now: Instant) {
        self.broadcasts.release_delayed(now);
        if self.broadcasts.is_due(now) {
            self.flush(now);
        }
    }

    fn flush(&mut self, now: Instant) {
        self.broadcasts.begin_flush();
        for _ in 0..ANNOUNCEMENTS {
            let Some(announcement) = self.broadcasts.take() else { return };
            self.stats.announcements += 1;
            self.outbox.push(Output::Announce(announcement.to_bytes()));
        }
        self.broadcasts.arm(now);
    }

    /// Schedules an announcement for items queued while an input was handled.
    pub(super) fn arm_broadcasts(&mut self, now: Instant) {
        self.broadcasts.arm(now);
    }

    /// Renews this node's record and announces it.
    pub(super) fn renew_record(&mut self, now: Instant) {
        self.own.renew();
        self.announce_own_record(now);
    }

    /// The addresses at which others reach this node.
    pub(super) fn on_addresses(&mut self, now: Instant, ways: &[SocketAddr]) {
        if self.own.set_addresses(ways) {
            self.renew_record(now);
        }
    }

    /// The address where a member was last proved, and then those in its record.
    #[must_use]
    pub fn ways(&self, key: &PublicKey) -> Vec<SocketAddr> {
        let Some(member) = self.table.get(key) else { return Vec::new() };
        let proven = member.peer.contact.address;
        let record = MemberRecord::read(&member.record);
        let given = record.map(|record| ways_of(&record)).unwrap_or_default();
        [proven].into_iter().chain(given.into_iter().filter(|way| *way != proven)).collect()
    }

    /// The address to use for a member with this new record. The proved address stays, unless the
    /// record gives other addresses than the last one did.
    fn address_by(&self, known: &Member, record: &MemberRecord) -> SocketAddr {
        let (now_at, ways) = (known.peer.contact.address, ways_of(record));
        let said = MemberRecord::read(&known.record).map(|record| ways_of(&record));
        if ways.contains(&now_at) || said.is_ok_and(|said| said == ways) {
            return now_at;
        }
        self.own.nearest(record)
    }

    /// Announces this node's record: in a fleet to all members over the broadcast tree, in an open network
    /// only to the nodes that watch it. Otherwise a large network would carry little except joins and leaves.
    pub(super) fn announce_own_record(&mut self, now: Instant) {
        if self.own.is_client() {
            return;
        }
        if self.mode == Mode::Fleet {
            let key = self.own.key();
            self.broadcasts.add_record(key, self.own.signed.clone());
            self.broadcasts.arm(now);
        }
        let direct = if self.mode == Mode::Open || self.own.record.left { 64 } else { 0 };
        let watchers: Vec<Contact> = self
            .watched
            .iter()
            .filter_map(|key| self.table.get(key))
            .filter(|member| member.is_here())
            .map(|member| member.peer.contact)
            .take(direct)
            .collect();
        for contact in watchers {
            self.send_records(contact, vec![self.own.signed.clone()]);
        }
    }

    pub(super) fn send_records(&mut self, to: Contact, records: Vec<Bytes>) {
        let request = MemberRequest::Tell { records };
        self.ask(to, request, Purpose::Notify, AskOptions::tries(2));
    }

    /// A member suspects the current version of this node's record: this node refutes by a new
    /// version. A suspect message about another version is stale or invented.
    pub(super) fn on_suspected_self(&mut self, now: Instant, suspect: SuspectMessage) {
        if suspect.version != self.own.version() || self.own.is_leaving() {
            self.stats.doubts_dropped += 1;
            return;
        }
        if self.renew_record_if_allowed(now) {
            self.stats.self_refuted += 1;
            self.detector.health.on_bad();
        }
    }

    /// Renews this node's record, unless it did so too often just now.
    pub(super) fn renew_record_if_allowed(&mut self, now: Instant) -> bool {
        let allowed = !self.own.is_leaving() && self.own.may_refute(now);
        if allowed {
            self.renew_record(now);
        }
        allowed
    }

    /// Leaves: announces the last version of this incarnation.
    pub(super) fn leave(&mut self, now: Instant) {
        self.own.leave();
        self.renew_record(now);
        self.flush(now);
    }

    /// An announcement of a member.
    pub(super) fn on_announced(&mut self, now: Instant, from: PublicKey, payload: &[u8]) {
        let Ok(announcement) = Announcement::from_bytes(payload) else {
            self.stats.records_bad += 1;
            return;
        };
        for record in announcement.records {
            // Verification costs time: the records of a publisher of bad ones are soon ignored.
            if !self.rates.affords(now, &from, BAD_RECORD) {
                self.stats.over_rate += 1;
                break;
            }
            if !self.take_record(now, &record, false) {
                self.rates.charge(now, &from, BAD_RECORD);
            }
        }
        for suspect in announcement.suspects {
            self.on_suspect(now, from, suspect);
        }
        if let Some(settings) = announcement.settings {
            self.outbox.push(Output::Settings(settings));
        }
        if !announcement.revocations.is_empty() {
            let revocations = announcement.revocations;
            self.outbox.push(Output::Revocations { from, revocations });
        }
    }

    /// Sends a new neighbour the revocations: it may have been away when they were announced.
    pub(super) fn send_revocations(&mut self, to: Contact) {
        let revocations = self.revocations.signed(REVOCATIONS_PER_NEIGHBOUR);
        if !revocations.is_empty() {
            let request = MemberRequest::Revoke { revocations };
            self.ask(to, request, Purpose::Notify, AskOptions::tries(3));
        }
    }

    /// Takes in a record; `pass_on` if not all members have it. False if it is bad.
    pub(super) fn take_record(&mut self, now: Instant, bytes: &Bytes, pass_on: bool) -> bool {
        let Ok(record) = MemberRecord::read(bytes) else {
            self.stats.records_bad += 1;
            return false;
        };
        let key = record.contact.public_key;
        if key == self.own.key() {
            return self.on_own_record(now, &record, bytes);
        }
        if !pass_on {
            self.broadcasts.on_announced_elsewhere(&key);
        }
        let known = self.table.get(&key);
        if known.is_some_and(|known| known.version >= record.version && !known.record.is_empty()) {
            self.stats.records_stale += 1;
            return true;
        }
        let good = is_dialable(&record.contact.address)
            && !record.client
            && self.revocations.admits(&record, &self.own.network, self.wall)
            && (!self.config.verify || record.verify(bytes, &self.own.network).is_ok());
        if !good {
            self.stats.records_bad += 1;
            return false;
        }
        if known.is_none() && !self.watches(&key) {
            // Not watched by this node, but perhaps a future link.
            self.outbox.push(Output::Candidates(vec![record.contact]));
            return true;
        }
        self.stats.records += 1;
        let news = self.apply_record(now, record, bytes.clone());
        if news && pass_on && self.mode == Mode::Fleet {
            let spread = RELAY_DELAY_PER_MEMBER * self.table.here() as u32;
            let pause = RELAY_DELAY + spread.mul_f64(self.rng.fraction());
            self.broadcasts.add_delayed(now + pause, key, bytes.clone());
        }
        true
    }

    pub(super) fn watches(&self, key: &PublicKey) -> bool {
        self.mode == Mode::Fleet || self.watched.contains(key)
    }

    /// A record of this node with a newer version than its own comes from another machine with the
    /// same identity, since a start takes a higher incarnation than all before it. This node takes
    /// a newer version still, also so that the other machine learns of this one.
    fn on_own_record(&mut self, now: Instant, record: &MemberRecord, bytes: &Bytes) -> bool {
        if record.version <= self.own.version() {
            return true;
        }
        if record.verify(bytes, &self.own.network).is_err() {
            self.stats.records_bad += 1;
            return false;
        }
        if record.version.incarnation > self.own.version().incarnation {
            self.outbox.push(Output::Elsewhere(record.version));
        }
        // Two copies would otherwise outbid each other without end.
        if self.own.may_refute(now) {
            self.own.outbid(record.version);
            self.renew_record(now);
        }
        true
    }

    /// Enters a good and newer record. False if there was no room.
    fn apply_record(&mut self, now: Instant, record: MemberRecord, bytes: Bytes) -> bool {
        let key = record.contact.public_key;
        let Some(known) = self.table.get(&key) else {
            return self.enter(now, &record, bytes);
        };
        let address = self.address_by(known, &record);
        let Some(member) = self.table.get_mut(&key) else { return false };
        let restarted = record.version.incarnation > member.version.incarnation;
        member.record = bytes;
        member.version = record.version;
        member.answered = true;
        member.peer.contact.address = address;
        match (&member.state, record.left) {
            (LocalState::Alive | LocalState::Suspect(_), true) => self.on_left(now, &key),
            (LocalState::Suspect(_), false) => self.refuted(now, &key),
            (LocalState::Left, false) if restarted => self.revive(now, &key),
            // A newer version proves life, whatever was judged before: only the member can sign
            // one.
            (LocalState::Dead, false) => self.revive(now, &key),
            (LocalState::Dead, true) => self.table.set_state(now, &key, LocalState::Left),
            // The confirmations were about an older version.
            (LocalState::Alive, false) => {
                member.confirmations.clear();
                let contact = member.peer.contact;
                self.detector.forget_reported(&key);
                if restarted {
                    self.outbox.push(Output::Restarted(contact));
                }
            }
            (LocalState::Left, _) => {}
        }
        true
    }

    fn enter(&mut self, now: Instant, record: &MemberRecord, bytes: Bytes) -> bool {
        let contact = Contact { address: self.own.nearest(record), ..record.contact };
        let peer = contact.in_network(&self.own.network);
        let member = Member {
            peer,
            record: bytes,
            version: record.version,
            state: if record.left { LocalState::Left } else { LocalState::Alive },
            since: now,
            heard: now,
            priority_probe_at: Instant::ZERO,
            near: None,
            reached_indirectly: false,
            helper_hints: Vec::new(),
            confirmations: Vec::new(),
            flaps: 0,
            answered: true,
        };
        if !self.table.insert(member) {
            self.stats.records_refused += 1;
            return false;
        }
        if !record.left {
            let change = Change::Joined;
            self.outbox.push(Output::Event(MemberEvent { peer, change }));
            self.outbox.push(Output::Candidates(vec![record.contact]));
            if self.watches(&peer.contact.public_key) {
                self.probe_soon(now, &peer.contact.public_key);
            }
        }
        true
    }

    /// A member stated its current version.
    pub(super) fn on_version(&mut self, now: Instant, key: &PublicKey, version: RecordVersion) {
        let Some(member) = self.table.get(key) else { return };
        let (contact, known, record) = (member.peer.contact, member.version, member.record.clone());
        if record.is_empty() {
            self.request_record(now, contact, REQUEST_PAUSE);
        } else if version > known {
            self.request_record(now, contact, NEWER_REQUEST_PAUSE);
        } else if version < known {
            // It lost its own last version; this makes it sign a newer one.
            self.send_records(contact, vec![record]);
        }
    }

    /// A node's address was proved. An unknown node is asked for its record and sent this node's,
    /// which also joins two halves of a network that did not know each other.
    pub(super) fn on_proven(&mut self, now: Instant, contact: Contact) {
        self.on_heard(now, contact);
        let key = contact.public_key;
        if key == self.own.key() || !is_dialable(&contact.address) {
            return;
        }
        if self.table.get(&key).is_some_and(|member| !member.record.is_empty()) {
            return;
        }
        self.outbox.push(Output::Candidates(vec![contact]));
        let wanted = self.watches(&key);
        if !wanted {
            return;
        }
        if self.mode == Mode::Fleet && self.table.here() == 0 {
            self.anti_entropy.page_from(contact);
        }
        self.request_record(now, contact, REQUEST_PAUSE);
    }

    /// Asks a node for its record and sends this node's, unless that was done within `pause`.
    fn request_record(&mut self, now: Instant, contact: Contact, pause: Duration) {
        let key = contact.public_key;
        if !self.broadcasts.may_request(now, &key, pause) {
            return;
        }
        let request = MemberRequest::Load { members: vec![short_id(&key)] };
        if self.ask(contact, request, Purpose::Load(contact), AskOptions::tries(2)).is_none() {
            return;
        }
        self.broadcasts.note_requested(now, key);
        if !self.own.is_client() {
            self.send_records(contact, vec![self.own.signed.clone()]);
        }
    }
}
