//! Records: this node's own record, those of others, and the broadcast queue.
//!
//! A record is news only if its version is newer than the known one. News from a single node is
//! announced to all; what arrived over the broadcast tree all members have. An own record is
//! renewed only when something changed or this node is suspected, so the lists of an idle network
//! are equal and comparing them is cheap.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{
    Address, Contact, Deadline, Instant, LruMap, PublicKey, Rate, TokenBucket, is_dialable,
    nearest_first,
};
use potluck_wire::{
    Announcement, Certificate, MemberRecord, MemberRequest, RecordVersion, Revoked, SuspectMessage,
};

use super::event::Output;
use super::outbox::{AskOptions, Purpose};
use super::rates::BAD_RECORD;
use super::table::{LocalState, Member, short_id};
use super::{Members, ModeChoice};
use crate::view::{Change, MemberEvent, MemberView, Mode};

/// How long the broadcast queue collects items before an announcement. A higher value sends fewer,
/// later announcements.
const BATCH_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of one announcement: with its signature and framing it fits in a datagram.
const ANNOUNCEMENT_BYTES: usize = 760;
/// Announcements sent at once; the rest waits for the next one.
const ANNOUNCEMENTS: usize = 4;
/// Records in the broadcast queue. Dropped ones are found by anti-entropy.
const RECORDS_MAX: usize = 512;
/// Suspect messages in the broadcast queue.
const SUSPECTS_MAX: usize = 64;
/// Revocations in the broadcast queue.
const REVOCATIONS_MAX: usize = 256;
/// Revocations sent to a new neighbour, in a call if they are many.
const REVOCATIONS_PER_NEIGHBOUR: usize = 1024;
/// Recent record requests remembered, one for each member.
const REQUESTED_MAX: usize = 1024;
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
/// Bytes of a suspect message with its framing.
const SUSPECT_BYTES: usize = 52;

/// Items waiting to be announced to all members.
#[derive(Debug)]
pub(super) struct BroadcastQueue {
    records: VecDeque<(PublicKey, Bytes)>,
    /// News to be announced unless another member announces it first.
    delayed: BTreeMap<(Instant, PublicKey), Bytes>,
    suspects: VecDeque<SuspectMessage>,
    revocations: VecDeque<Bytes>,
    flush_at: Option<Instant>,
    requested: LruMap<PublicKey, Instant>,
    refutations: TokenBucket,
}

impl Default for BroadcastQueue {
    fn default() -> Self {
        Self {
            records: VecDeque::new(),
            delayed: BTreeMap::new(),
            suspects: VecDeque::new(),
            revocations: VecDeque::new(),
            flush_at: None,
            requested: LruMap::new(REQUESTED_MAX),
            // Repeated suspicion must not make this node announce without end.
            refutations: Rate::new(1, 5).bucket(),
        }
    }
}

impl BroadcastQueue {
    pub(super) fn len(&self) -> usize {
        self.records.len() + self.delayed.len() + self.suspects.len() + self.revocations.len()
    }

    /// Whether the next announcement would be empty.
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.suspects.is_empty() && self.revocations.is_empty()
    }

    /// Queues news to be announced at `at`, unless another member announces it before.
    fn add_delayed(&mut self, at: Instant, key: PublicKey, record: Bytes) {
        self.on_announced_elsewhere(&key);
        if self.delayed.len() < RECORDS_MAX {
            self.delayed.insert((at, key), record);
        }
    }

    /// Another member announced this record.
    fn on_announced_elsewhere(&mut self, key: &PublicKey) {
        self.delayed.retain(|(_, other), _| other != key);
    }

    /// Queues the delayed news that is due.
    fn release_delayed(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry() {
            let (at, key) = *first.key();
            if at > now {
                return;
            }
            let record = first.remove();
            self.add_record(key, record);
        }
    }

    pub(super) fn add_record(&mut self, key: PublicKey, record: Bytes) {
        self.records.retain(|(other, _)| *other != key);
        if self.records.len() < RECORDS_MAX {
            self.records.push_back((key, record));
        }
    }

    pub(super) fn add_suspect(&mut self, suspect: SuspectMessage) {
        self.suspects.retain(|other| other.subject != suspect.subject);
        if self.suspects.len() < SUSPECTS_MAX {
            self.suspects.push_back(suspect);
        }
    }

    pub(super) fn add_revocation(&mut self, revocation: Bytes) {
        if self.revocations.len() < REVOCATIONS_MAX && !self.revocations.contains(&revocation) {
            self.revocations.push_back(revocation);
        }
    }

    pub(super) fn forget(&mut self, key: &PublicKey) {
        self.on_announced_elsewhere(key);
        self.records.retain(|(other, _)| other != key);
        self.suspects.retain(|suspect| suspect.subject != *key);
    }

    /// Schedules the next announcement if items wait. Called after each input, with its time.
    fn arm(&mut self, now: Instant) {
        if self.flush_at.is_none() && !self.is_empty() {
            self.flush_at = Some(now + BATCH_PAUSE);
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        let delayed = self.delayed.first_key_value().map(|((at, _), _)| *at);
        Deadline::earliest([
            self.flush_at.map(|at| Deadline::new(at, "announce")),
            delayed.map(|at| Deadline::new(at, "news")),
        ])
    }

    /// As many items as fit into one announcement.
    fn take(&mut self) -> Option<Announcement> {
        let mut announcement = Announcement::default();
        let mut room = ANNOUNCEMENT_BYTES;
        while room >= SUSPECT_BYTES
            && announcement.suspects.len() < potluck_wire::limits::SUSPECTS_MAX
            && let Some(suspect) = self.suspects.pop_front()
        {
            room -= SUSPECT_BYTES;
            announcement.suspects.push(suspect);
        }
        // The first record always fits: one alone may be longer, and is sent as a larger message.
        while self.revocations.front().is_some_and(|bytes| bytes.len() + 3 <= room) {
            let Some(bytes) = self.revocations.pop_front() else { break };
            room -= bytes.len() + 3;
            announcement.revocations.push(bytes);
        }
        let empty = |announcement: &Announcement| {
            announcement.suspects.is_empty()
                && announcement.records.is_empty()
                && announcement.revocations.is_empty()
        };
        while let Some((_, bytes)) = self.records.front() {
            let needed = bytes.len() + 3;
            if needed > room && !empty(&announcement) {
                break;
            }
            room = room.saturating_sub(needed);
            let Some((_, bytes)) = self.records.pop_front() else { break };
            announcement.records.push(bytes);
        }
        (!empty(&announcement)).then_some(announcement)
    }
}

/// The version after this one in the same incarnation; at the last revision, the first of the next
/// incarnation. The very last version stays the last: its subject is then known to be alive from
/// its traffic, not from its record.
pub(super) fn next_version(version: RecordVersion) -> RecordVersion {
    match version.revision.checked_add(1) {
        Some(revision) => RecordVersion { revision, ..version },
        None => next_incarnation(version),
    }
}

/// The first version of the next incarnation; in the last incarnation, the next revision.
pub(super) fn next_incarnation(version: RecordVersion) -> RecordVersion {
    match version.incarnation.checked_add(1) {
        Some(incarnation) => RecordVersion { incarnation, revision: 0 },
        None => RecordVersion { revision: version.revision.saturating_add(1), ..version },
    }
}

/// A member as the application sees it.
pub(super) fn view_of(member: &Member) -> MemberView {
    let record = MemberRecord::read(&member.record).ok();
    MemberView {
        peer: member.peer,
        state: member.state.shown(),
        incarnation: member.version.incarnation,
        labels: record.map(|record| record.labels).unwrap_or_default(),
    }
}

/// The direct addresses in a record, the preferred one first.
fn ways_of(record: &MemberRecord) -> Vec<SocketAddr> {
    let more = record.more.iter().filter(|way| way.via.is_none()).map(|way| way.socket);
    [record.contact.address].into_iter().chain(more).filter(is_dialable).collect()
}

impl Members {
    /// Sends the announcements that are due.
    pub(super) fn announce_due(&mut self, now: Instant) {
        self.broadcasts.release_delayed(now);
        if self.broadcasts.flush_at.is_some_and(|at| at <= now) {
            self.flush(now);
        }
    }

    fn flush(&mut self, now: Instant) {
        self.broadcasts.flush_at = None;
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
        self.me.version = next_version(self.me.version);
        self.my_record = self.me.sign(&self.identity, &self.network);
        self.announce_own_record(now);
    }

    /// The addresses at which others reach this node.
    pub(super) fn on_addresses(&mut self, now: Instant, ways: &[SocketAddr]) {
        let [first, more @ ..] = ways else { return };
        let more: Vec<Address> = more.iter().copied().map(Address::from).collect();
        if (self.me.contact.address, &self.me.more) != (*first, &more) {
            (self.me.contact.address, self.me.more) = (*first, more);
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
        self.nearest(record)
    }

    /// The address in a record that seems nearest.
    fn nearest(&self, record: &MemberRecord) -> SocketAddr {
        let ways = nearest_first(&self.local, ways_of(record));
        ways.first().copied().unwrap_or(record.contact.address)
    }

    /// Sends this node's record: to all members of a fleet over the broadcast tree; in an open
    /// network only to the nodes that watch it, or the network would carry little but joins and
    /// leaves.
    pub(super) fn announce_own_record(&mut self, now: Instant) {
        if self.me.client {
            return;
        }
        if self.mode == Mode::Fleet {
            let key = self.me.contact.public_key;
            self.broadcasts.add_record(key, self.my_record.clone());
            self.broadcasts.arm(now);
        }
        let direct = if self.mode == Mode::Open || self.me.left { 64 } else { 0 };
        let watchers: Vec<Contact> = self
            .neighbours
            .iter()
            .chain(&self.close_group)
            .filter_map(|key| self.table.get(key))
            .filter(|member| member.is_here())
            .map(|member| member.peer.contact)
            .take(direct)
            .collect();
        for contact in watchers {
            self.send_records(contact, vec![self.my_record.clone()]);
        }
    }

    pub(super) fn send_records(&mut self, to: Contact, records: Vec<Bytes>) {
        let request = MemberRequest::Tell { records };
        self.ask(to, request, Purpose::Notify, AskOptions::tries(2));
    }

    /// A member suspects the current version of this node's record: this node refutes by a new
    /// version. A suspect message about another version is stale or invented.
    pub(super) fn on_suspected_self(&mut self, now: Instant, suspect: SuspectMessage) {
        if suspect.version != self.me.version || self.leaving {
            self.stats.doubts_dropped += 1;
            return;
        }
        if self.renew_record_if_allowed(now) {
            self.stats.self_refuted += 1;
            self.health.on_bad();
        }
    }

    /// Renews this node's record, unless it did so too often just now.
    pub(super) fn renew_record_if_allowed(&mut self, now: Instant) -> bool {
        let allowed = !self.leaving && self.broadcasts.refutations.take(now, 1);
        if allowed {
            self.renew_record(now);
        }
        allowed
    }

    /// Leaves: announces the last version of this incarnation.
    pub(super) fn leave(&mut self, now: Instant) {
        self.leaving = true;
        self.me.left = true;
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
        if !announcement.revocations.is_empty() {
            self.outbox.push(Output::Revocations(announcement.revocations));
        }
    }

    /// Sends a new neighbour the revocations: it may have been away when they were announced.
    pub(super) fn send_revocations(&mut self, to: Contact) {
        let revocations: Vec<Bytes> = self
            .revoked
            .values()
            .map(|(_, bytes)| bytes.clone())
            .take(REVOCATIONS_PER_NEIGHBOUR)
            .collect();
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
        if key == self.me.contact.public_key {
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
            && self.certificate_holds(&record)
            && (!self.config.verify || record.verify(bytes, &self.network).is_ok());
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
        self.mode == Mode::Fleet || self.neighbours.contains(key) || self.close_group.contains(key)
    }

    /// Whether a record's subject was admitted. Outside `invite` networks every node is.
    fn certificate_holds(&self, record: &MemberRecord) -> bool {
        let Some(authority) = &self.authority else { return true };
        let Some(bytes) = &record.certificate else { return false };
        let Ok(certificate) = Certificate::read(bytes, authority, &self.network) else {
            return false;
        };
        let subject = record.contact.public_key;
        let expired = self.wall.is_some_and(|now| certificate.expires <= now);
        let ticket = certificate.ticket.map(Revoked::Ticket);
        let revoked = self.revoked.contains_key(&Revoked::Member(subject))
            || ticket.is_some_and(|ticket| self.revoked.contains_key(&ticket));
        let salted = certificate.salt == record.contact.salt;
        certificate.subject == subject && salted && !expired && !revoked
    }

    /// A record of this node with a newer version than its own comes from another machine with the
    /// same identity, since a start takes a higher incarnation than all before it. This node takes
    /// a newer version still, also so that the other machine learns of this one.
    fn on_own_record(&mut self, now: Instant, record: &MemberRecord, bytes: &Bytes) -> bool {
        if record.version <= self.me.version {
            return true;
        }
        if record.verify(bytes, &self.network).is_err() {
            self.stats.records_bad += 1;
            return false;
        }
        if record.version.incarnation > self.me.version.incarnation {
            self.outbox.push(Output::Elsewhere(record.version));
        }
        // Two copies would otherwise outbid each other without end.
        if self.broadcasts.refutations.take(now, 1) {
            self.me.version = next_incarnation(record.version);
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
                self.detector.forget_reported(&key);
            }
            (LocalState::Left, _) => {}
        }
        true
    }

    fn enter(&mut self, now: Instant, record: &MemberRecord, bytes: Bytes) -> bool {
        let contact = Contact { address: self.nearest(record), ..record.contact };
        let peer = contact.in_network(&self.network);
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
        if key == self.me.contact.public_key || !is_dialable(&contact.address) {
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
        let lately = self.broadcasts.requested.peek(&key);
        if lately.is_some_and(|at| now.since(*at) < pause) {
            return;
        }
        let request = MemberRequest::Load { members: vec![short_id(&key)] };
        if self.ask(contact, request, Purpose::Load(contact), AskOptions::tries(2)).is_none() {
            return;
        }
        self.broadcasts.requested.insert(key, now);
        if !self.me.client {
            self.send_records(contact, vec![self.my_record.clone()]);
        }
    }

    /// Chooses the mode by the estimated size of the network.
    pub(super) fn on_network_size(&mut self, size: u64) {
        if self.config.mode != ModeChoice::Auto {
            return;
        }
        let max = self.config.fleet_max as u64;
        let mode = match self.mode {
            Mode::Fleet if size > max => Mode::Open,
            Mode::Open if size < max * 2 / 3 => Mode::Fleet,
            Mode::Fleet | Mode::Open => return,
        };
        self.mode = mode;
        let fleet = mode == Mode::Fleet;
        let room = if fleet { self.config.fleet_max } else { self.config.open_max };
        self.table.set_room(room);
        self.outbox.push(Output::Mode(mode));
    }
}
